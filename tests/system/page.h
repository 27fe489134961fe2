/*
 * page.h: is this an HTML page that stands alone?
 *
 * Errors: fails the calling test, and prints what is wrong.
 */
#ifndef EVOKE_PAGE_H
#define EVOKE_PAGE_H

/* Every element is closed, in order, and there is nothing that a browser would fetch or
 * run. */
void page_check(const char *html);

#endif
