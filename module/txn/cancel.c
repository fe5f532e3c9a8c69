/* CANCEL of our own INVITEs (9.1). */
#include "txn/txn_impl.h"

/* The CANCEL is a transaction of its own, without a user. When there is no memory for one it is sent once without.
 * Whatever becomes of it, from now on the INVITE has 64*T1 left. */
void sh_client_send_cancel(struct sh_client_txn *ct, struct sh_slice reason)
{
	struct sh_txn_layer *l = ct->layer;
	struct sh_slice text = sh_txn_write_cancel(ct, reason);

	if (text.len && sh_client_start_beside(ct, SH_CANCEL, text))
		sh_transport_send(l->transport, &ct->path, text, NULL);
	sh_free(ct->reason);
	ct->reason = NULL;
	ct->deadline = l->env->now + sh_txn_64t1(l);
	sh_wheel_add(&l->env->wheel, &ct->timer, ct->deadline);
}

int sh_client_txn_cancel(struct sh_client_txn *ct, struct sh_slice reason)
{
	if (ct->method != SH_INVITE)
		return -EINVAL;
	if (ct->cancelled || ct->state > SH_TXN_PROCEEDING)
		return 0;
	sh_free(ct->others); /* who is to be cancelled is not looked for elsewhere */
	ct->others = NULL;
	ct->cancelled = true;
	if (ct->state == SH_TXN_PROCEEDING)
		sh_client_send_cancel(ct, reason);
	else if (reason.len)
		ct->reason = sh_strndup(reason.base, reason.len); /* without memory the CANCEL just gives no reason */
	return 0;
}
