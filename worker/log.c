#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum { LINE_SIZE = 2048, REPEAT_SECONDS = 10 };

static const char *const LEVELS[] = {"error", "warn", "info", "debug"};

static struct {
    pthread_mutex_t mutex;
    enum log_level level;
    FILE *stream;
    bool silent;
    char last[LINE_SIZE]; /* level, module and text of the line before */
    time_t last_time;
    uint64_t repeated;
} log_state = {.mutex = PTHREAD_MUTEX_INITIALIZER, .level = LOG_LEVEL_INFO};

void log_set_level(enum log_level level)
{
    pthread_mutex_lock(&log_state.mutex);
    log_state.level = level;
    pthread_mutex_unlock(&log_state.mutex);
}

bool log_enabled(enum log_level level)
{
    pthread_mutex_lock(&log_state.mutex);
    bool enabled = level <= log_state.level && !log_state.silent;
    pthread_mutex_unlock(&log_state.mutex);
    return enabled;
}

void log_set_stream(FILE *stream)
{
    pthread_mutex_lock(&log_state.mutex);
    log_state.stream = stream;
    log_state.silent = stream == NULL;
    log_state.last[0] = '\0';
    log_state.repeated = 0;
    pthread_mutex_unlock(&log_state.mutex);
}

/* Appends `text` to the line as the inside of a quoted value. */
static size_t escape(char line[LINE_SIZE], size_t used, const char *text, size_t size)
{
    for (size_t k = 0; k < size && used + 8 < LINE_SIZE; k++) {
        unsigned char c = (unsigned char)text[k];
        if (c == '"' || c == '\\') {
            line[used++] = '\\';
            line[used++] = (char)c;
        } else if (c == '\n') {
            line[used++] = '\\';
            line[used++] = 'n';
        } else if (c < 0x20 || c == 0x7f) {
            used += (size_t)snprintf(line + used, LINE_SIZE - used, "\\x%02x", c);
        } else {
            line[used++] = (char)c;
        }
    }
    return used;
}

/* level=... module=... msg="..." fields. Fields may not break the line. */
static void compose(char line[LINE_SIZE], enum log_level level, const char *module,
                    const char *text)
{
    size_t used =
        (size_t)snprintf(line, LINE_SIZE, "level=%s module=%.40s msg=\"", LEVELS[level], module);
    size_t size = strcspn(text, "\t");
    used = escape(line, used, text, size);
    line[used++] = '"';
    if (text[size] == '\t') {
        line[used++] = ' ';
        for (const char *c = text + size + 1; *c != '\0' && used + 2 < LINE_SIZE; c++)
            line[used++] = (unsigned char)*c < 0x20 ? ' ' : *c;
    }
    line[used] = '\0';
}

static void put_line(const struct timespec *now, const char *line)
{
    struct tm utc;
    char text[32] = "";
    if (gmtime_r(&now->tv_sec, &utc) != NULL)
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    FILE *stream = log_state.stream != NULL ? log_state.stream : stderr;
    fprintf(stream, "time=%s.%03ldZ %s\n", text, now->tv_nsec / 1000000, line);
    fflush(stream);
}

static void put_repeated(const struct timespec *now)
{
    if (log_state.repeated == 0)
        return;
    char line[128];
    snprintf(line, sizeof line,
             "level=info module=log msg=\"the line before was repeated\" repeated=%llu",
             (unsigned long long)log_state.repeated);
    put_line(now, line);
    log_state.repeated = 0;
}

void log_write(enum log_level level, const char *module, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char text[LINE_SIZE], line[LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    compose(line, level, module, text);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);

    pthread_mutex_lock(&log_state.mutex);
    if (strcmp(line, log_state.last) == 0 && now.tv_sec - log_state.last_time < REPEAT_SECONDS) {
        log_state.repeated++;
    } else if (!log_state.silent) {
        put_repeated(&now);
        put_line(&now, line);
        memcpy(log_state.last, line, sizeof line);
        log_state.last_time = now.tv_sec;
    }
    pthread_mutex_unlock(&log_state.mutex);
}
