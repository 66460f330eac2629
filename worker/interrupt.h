/* Signals of the commands that people run: SIGINT and SIGTERM ask for an orderly end, the second
 * one ends at once; a reader that went away (SIGPIPE) becomes a write that fails. */
#ifndef INFOPAIR_INTERRUPT_H
#define INFOPAIR_INTERRUPT_H

#include <stdbool.h>

void interrupt_catch(void);
/* True once SIGINT or SIGTERM came. */
bool interrupt_seen(void);

#endif
