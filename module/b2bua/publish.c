#include "b2bua/event.h"
#include "b2bua/impl.h"

void sh_publication_free(struct sh_ua *ua, struct sh_publication *p)
{
	sh_wheel_cancel(&ua->env->wheel, &p->timer);
	sh_list_remove(&p->link);
	sh_body_unref(p->body);
	sh_free(p);
}
