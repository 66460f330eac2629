#include "findings.h"

#include <stdarg.h>

static void write_line(struct findings *findings, const char *subject, const char *kind,
                       const char *format, va_list arguments)
{
    fprintf(findings->out, "%s: %s: ", subject, kind);
    vfprintf(findings->out, format, arguments);
    fputc('\n', findings->out);
}

void findings_break(struct findings *findings, const char *subject, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line(findings, subject, "NOT FIT", format, arguments);
    va_end(arguments);
    findings->broken++;
}

void findings_note(struct findings *findings, const char *subject, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line(findings, subject, "note", format, arguments);
    va_end(arguments);
}

void findings_unchecked(struct findings *findings, const char *subject, const struct error *error)
{
    fprintf(findings->out, "%s: NOT CHECKED: %s\n", subject, error->message);
    findings->broken++;
}
