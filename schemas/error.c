#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool error_set(struct error *error, enum error_class class, const char *format, ...)
{
    if (error == NULL)
        return false;
    error->class = class;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return false;
}

bool error_prefix(struct error *error, const char *format, ...)
{
    if (error == NULL)
        return false;
    char rest[sizeof error->message];
    memcpy(rest, error->message, sizeof rest);
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    size_t left = used < 0 || (size_t)used >= sizeof error->message
                      ? 0
                      : sizeof error->message - (size_t)used;
    if (left > 3)
        snprintf(error->message + used, left, ": %.*s", (int)left - 3, rest);
    return false;
}
