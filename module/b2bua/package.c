/* The packages that the engine serves by itself. */
#include "b2bua/impl.h"

const struct sh_package *sh_package_find(struct sh_slice event)
{
	(void)event;
	return NULL;
}
