/* One function of another OpenSSL, as a host may carry it along: preloaded before the object (docs/host-abi.md, rule 5). */
int EVP_DigestUpdate(void *ctx, const void *data, unsigned long len);

int EVP_DigestUpdate(void *ctx, const void *data, unsigned long len)
{
	(void)ctx;
	(void)data;
	(void)len;
	return 1;
}
