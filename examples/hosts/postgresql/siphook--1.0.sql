-- What SQL sees of siphook. CREATE EXTENSION siphook; superusers and members of pg_monitor may look, superusers alone may act.
CREATE FUNCTION siphook_ask(request text) RETURNS text AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE;

CREATE FUNCTION siphook_status() RETURNS json LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = @extschema@, pg_temp
AS $$ SELECT siphook_ask('status')::json $$;

CREATE FUNCTION siphook_calls(OUT id text, OUT state text, OUT "from" text, OUT "to" text, OUT uri text, OUT b_uri text, OUT age interval,
	OUT duration interval)
RETURNS SETOF record LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = @extschema@, pg_temp
AS $$
	SELECT id, state, "from", "to", uri, b_uri, make_interval(secs => age), make_interval(secs => duration)
	FROM json_to_recordset(siphook_ask('calls')::json)
		AS c(id text, state text, "from" text, "to" text, uri text, b_uri text, age float8, duration float8)
$$;

CREATE FUNCTION siphook_registrations(OUT aor text, OUT contact text, OUT expires interval, OUT transport text, OUT source text, OUT user_agent text)
RETURNS SETOF record LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = @extschema@, pg_temp
AS $$
	SELECT aor, contact, make_interval(secs => expires), transport, source, user_agent
	FROM json_to_recordset(siphook_ask('registrations')::json)
		AS r(aor text, contact text, expires float8, transport text, source text, user_agent text)
$$;

-- The number of the new generation, or an error with file, line and reason.
CREATE FUNCTION siphook_reload() RETURNS bigint LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = @extschema@, pg_temp
AS $$ SELECT (siphook_ask('reload')::json ->> 'generation')::bigint $$;

CREATE FUNCTION siphook_hangup(id text) RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = @extschema@, pg_temp
AS $$ SELECT siphook_ask('hangup ' || id) $$;

REVOKE ALL ON FUNCTION siphook_ask(text), siphook_status(), siphook_calls(), siphook_registrations(), siphook_reload(), siphook_hangup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION siphook_status(), siphook_calls(), siphook_registrations() TO pg_monitor;
