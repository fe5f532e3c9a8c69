/* With a sanitizer's runtime preloaded, PostgreSQL waits for ever in its first bindtextdomain(): glibc's lock of message catalogues is
 * unlocked without having been locked, by a library of its that binds a catalogue while it is loaded. Without catalogues it runs. */
char *bindtextdomain(const char *domain, const char *folder);
char *gettext(const char *text);
char *dgettext(const char *domain, const char *text);
char *dcgettext(const char *domain, const char *text, int category);

char *bindtextdomain(const char *domain, const char *folder)
{
	(void)domain;
	return (char *)folder;
}

char *gettext(const char *text)
{
	return (char *)text;
}

char *dgettext(const char *domain, const char *text)
{
	(void)domain;
	return (char *)text;
}

char *dcgettext(const char *domain, const char *text, int category)
{
	(void)domain;
	(void)category;
	return (char *)text;
}
