/*
 * spoil.h: what can be wrong with one message of a rig, each with the name under which the
 * daemon must count it and the verdict of the trial that it hits.
 *
 * Invariant: what is sent instead carries RIG_TEST_POISON wherever it carries counts.
 */
#ifndef EVOKE_SPOIL_H
#define EVOKE_SPOIL_H

#include "rig_test.h"

#define SPOIL_UNITS 3 /* of the session in which this is done */

struct spoil {
    const char *name;
    void (*send)(struct rig_test *bench, struct rig_test_message *message);
    const char *counter; /* goes up by one */
    enum verdict verdict;
};

extern const struct spoil spoil_all[];
extern const int spoil_n;

/* Send a message as it is, and after it one that was held back to come too late. */
void spoil_pass_on(struct rig_test *bench, const struct rig_test_message *message);

#endif
