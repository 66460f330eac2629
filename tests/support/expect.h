/* What several C tests expect alike. */
#ifndef INFOPAIR_TEST_EXPECT_H
#define INFOPAIR_TEST_EXPECT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/options.h"

/* The text has this part. */
static inline void expect_says(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("'%s' does not say '%s'", text, part);
}

/* Defaults over which `sets` are laid, which must be good; NULL ends them. The caller's to free. */
static inline struct options *expect_options(const char *const *sets)
{
    struct error error = {ERROR_NONE, ""};
    struct options *options = options_new();
    assert_non_null(options);
    if (!options_load(options, &(struct options_input){.no_default_file = true, .sets = sets},
                      &error))
        fail_msg("%s", error.message);
    return options;
}

#endif
