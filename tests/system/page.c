#include "page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

/* Every element that is opened is closed, in order. */
static void check_tags(const char *html)
{
    char open[64][16];
    int depth = 0;

    for (const char *p = strchr(html + 1, '<'); p; p = strchr(p + 1, '<')) {
        const char *end = strchr(p, '>');
        char name[16] = "";
        assert_non_null(end);
        sscanf(p + 1 + (p[1] == '/'), "%15[a-z0-9]", name);
        assert_true(name[0] != '\0');
        if (p[1] == '/') {
            if (depth == 0 || strcmp(open[depth - 1], name) != 0)
                print_error("</%s> closes <%s>: %.60s\n", name,
                            depth ? open[depth - 1] : "nothing", p);
            assert_true(depth > 0);
            assert_string_equal(open[--depth], name);
        } else if (end[-1] != '/') {
            assert_true(depth < 64);
            strcpy(open[depth++], name);
        }
    }
    assert_int_equal(depth, 0);
}

/* Nothing that a browser would fetch or run. */
static void check_alone(const char *html)
{
    static const char *const never[] = {
        "<script", "<link",  "<iframe", "href=",   "@import", "url(",
        "https:",  "onload", "src=\"h", "src=\"/", "nan",     "inf\""};

    assert_memory_equal(html, "<!DOCTYPE html>", 15);
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        if (strstr(html, never[i]))
            print_error("the page has %s\n", never[i]);
        assert_null(strstr(html, never[i]));
    }
    for (const char *p = html; (p = strstr(p, "http:")); p++)
        assert_memory_equal(p, "http://www.w3.org/2000/svg\"", 27);
}

void page_check(const char *html)
{
    check_tags(html);
    check_alone(html);
}
