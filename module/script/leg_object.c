/* `leg`: one side of a call. */
#include "script/impl.h"
#include "script/uri_object.h"

enum { F_URI = SH_FIELD_OWN, F_STATE, F_CODE, F_CALL_ID, F_LOCAL_SDP, F_REMOTE_SDP, F_USER_AGENT, F_LOCAL_TAG, F_REMOTE_TAG };

static const struct sh_field fields[] = {
    {"uri", F_URI},
    {"state", F_STATE},
    {"code", F_CODE},
    {"call_id", F_CALL_ID},
    {"local_sdp", F_LOCAL_SDP},
    {"remote_sdp", F_REMOTE_SDP},
    {"user_agent", F_USER_AGENT},
    {"local_tag", F_LOCAL_TAG},
    {"remote_tag", F_REMOTE_TAG},
    {NULL, 0},
};

static void push_text(lua_State *L, struct sh_slice s)
{
	sh_push_slice(L, s.len ? s : (struct sh_slice){0});
}

/* Of a leg that has gone: on_branch and the hangup hook were told where it led. */
static int gone_field(lua_State *L, int id)
{
	struct sh_slice uri = {0};

	if (id == F_STATE) {
		lua_pushliteral(L, "ended");
		return 1;
	}
	if (id != F_URI)
		return sh_gone(L);
	if (lua_getiuservalue(L, 1, 1) == LUA_TSTRING)
		uri.base = lua_tolstring(L, -1, &uri.len);
	if (sh_uri_object_push(L, uri) < 0)
		return sh_gone(L);
	return 1;
}

static int own_field(lua_State *L, int id)
{
	struct sh_leg *l = sh_leg_check(L, 1);

	if (!l)
		return gone_field(L, id);
	switch (id) {
	case F_URI:
		if (sh_uri_object_push(L, sh_leg_uri(l)) < 0)
			lua_pushnil(L);
		break;
	case F_STATE:
		sh_push_slice(L, sh_leg_state_name(sh_leg_state(l)));
		break;
	case F_CODE:
		lua_pushinteger(L, sh_leg_code(l));
		break;
	case F_CALL_ID:
		sh_push_slice(L, sh_dialog_call_id(sh_leg_dialog(l)));
		break;
	case F_LOCAL_TAG:
		lua_pushlstring(L, sh_leg_dialog(l)->local_tag, SH_TAG_LEN);
		break;
	case F_REMOTE_TAG:
		push_text(L, sh_dialog_remote_tag(sh_leg_dialog(l)));
		break;
	case F_LOCAL_SDP:
		push_text(L, sh_leg_local_sdp(l));
		break;
	case F_REMOTE_SDP:
		push_text(L, sh_leg_remote_sdp(l));
		break;
	case F_USER_AGENT:
		push_text(L, sh_leg_user_agent(l));
		break;
	default:
		lua_pushnil(L);
	}
	return 1;
}

static int hangup(lua_State *L)
{
	struct sh_leg *l = sh_leg_check(L, 1);

	if (!l)
		return sh_gone(L);
	sh_call_hang_up_leg(l, (struct sh_slice){0});
	lua_pushboolean(L, 1);
	return 1;
}

void sh_leg_object_open(lua_State *L)
{
	static const luaL_Reg methods[] = {{"hangup", hangup}, {NULL, NULL}};

	sh_object_class(L, SH_OBJECT_LEG, methods, fields, own_field, NULL);
}
