/* The clocks of the process. The engine never reads them: it is told the time. */
#ifndef INFOPAIR_CLOCK_H
#define INFOPAIR_CLOCK_H

#include <stdint.h>

/* Wall clock, milliseconds since the epoch. Any thread. */
int64_t clock_now_ms(void);
/* Never goes back; milliseconds since an arbitrary start. For intervals and timeouts. Any thread.
 */
int64_t clock_monotonic_ms(void);
/* Nanoseconds for which the calling thread had a processor. */
int64_t clock_thread_ns(void);

#endif
