#include "log.h"

#include <stdarg.h>
#include <unistd.h>

void log_line(enum log_level level, const char *format, ...)
{
    char line[1024];
    va_list args;
    int n = 0;

    if (!isatty(STDERR_FILENO))
        n = snprintf(line, sizeof(line), "<%d>", (int)level);
    va_start(args, format);
    vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
    va_end(args);
    fprintf(stderr, "%s\n", line);
}
