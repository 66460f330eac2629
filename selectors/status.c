#include "selectors/selectors.h"

#include <cblas.h>

const char *sel_status_text(enum sel_status status)
{
    switch (status) {
    case SEL_OK:
        return "Done.";
    case SEL_INVALID:
        return "An argument is out of range or not finite.";
    case SEL_NO_MEMORY:
        return "An allocation failed.";
    case SEL_REFUSED:
        return "The removal would leave the information matrix indefinite; nothing was changed.";
    case SEL_SINGULAR:
        return "The information matrix is not positive definite.";
    case SEL_NOT_CONVERGED:
        return "The iteration stopped above its tolerance.";
    case SEL_MISSING:
        return "The rule needs an input or a parameter that was not given.";
    }
    return "Unknown status.";
}

void sel_init(void)
{
    openblas_set_num_threads(1);
}
