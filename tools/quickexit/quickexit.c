/*
 * Debian's PostgreSQL is linked with some sixty libraries, and at the end of each session
 * their exit handlers tidy up what the process never used. Where memory is dear to touch
 * that is a third of what a session costs that asks one question. The servers of the tests
 * load this library first: what PostgreSQL itself does at the end of a process is done
 * when it calls exit, and the rest goes with the process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Programs that a server starts end as they always do. */
__attribute__((constructor)) static void not_inherited(void) { unsetenv("LD_PRELOAD"); }

void exit(int code)
{
	fflush(NULL);
	_exit(code);
}
