#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "protocol/event.h"
#include "stimulus/policy.h"

static const struct policy_conf conf = {.learn = POLICY_INFOMAX,
                                        .n_start = 3,
                                        .n_learn = 10,
                                        .n_mei = 9,
                                        .n_units = 4,
                                        .n_together = 2};

static void a_session_goes_through_its_phases_and_ends(void **state)
{
    (void)state;
    const unsigned R = JOB_RANDOM, I = JOB_INFOMAX, M = JOB_MEI;
    const unsigned kinds[] = {R, R, R, I, I, I, I, I, I, I, /* learn */
                              M, R, M, R, M, R, M, R, M,    /* show */
                              0, 0};
    const uint32_t units[] = {0, 1, 2, 3, 0};
    for (int i = 0; i < 21; i++) {
        struct policy_choice choice = policy_next(&conf, 1, i);
        assert_int_equal(choice.kind, kinds[i]);
        if (kinds[i] == M) {
            assert_int_equal(choice.unit, units[(i - 10) / 2]);
            assert_int_equal(choice.n_units, 1);
            assert_int_equal(choice.units[0], choice.unit);
        } else {
            assert_int_equal(choice.unit, UNIT_ALL);
            assert_int_equal(choice.n_units, kinds[i] == I ? 2 : 0);
        }
    }
}

static void other_policies_learn_from_random_images(void **state)
{
    (void)state;
    struct policy_conf other = conf;
    other.learn = POLICY_RANDOM;
    for (int i = 0; i < 10; i++)
        assert_int_equal(policy_next(&other, 1, i).kind, JOB_RANDOM);
    other.learn = POLICY_MIXED;
    for (int i = 3; i < 10; i++)
        assert_int_equal(policy_next(&other, 1, i).kind,
                         i % 2 ? JOB_RANDOM : JOB_INFOMAX);
}

static void units_come_equally_often_in_order_without_repeats(void **state)
{
    (void)state;
    struct policy_conf many = conf;
    many.n_learn = 100000;
    many.n_units = 20;
    many.n_together = 5;
    int n_drawn[20] = {0};
    for (int i = 3; i < 20003; i++) {
        struct policy_choice choice = policy_next(&many, 7, i);
        assert_int_equal(choice.n_units, 5);
        for (int k = 0; k < 5; k++) {
            assert_true(choice.units[k] < 20);
            assert_true(k == 0 || choice.units[k] > choice.units[k - 1]);
            n_drawn[choice.units[k]]++;
        }
    }
    for (int unit = 0; unit < 20; unit++) /* mean 5000, sd 61 */
        assert_in_range(n_drawn[unit], 4700, 5300);
}

static void fewer_units_than_asked_for_are_all_taken(void **state)
{
    (void)state;
    struct policy_conf few = conf;
    few.n_units = 2;
    few.n_together = 8;
    struct policy_choice choice = policy_next(&few, 1, 5);
    assert_int_equal(choice.n_units, 2);
    assert_int_equal(choice.units[0], 0);
    assert_int_equal(choice.units[1], 1);
}

static void the_seed_and_the_trial_decide_the_units(void **state)
{
    (void)state;
    struct policy_conf many = conf;
    many.n_units = 1000;
    struct policy_choice a = policy_next(&many, 1, 5), b = policy_next(&many, 1, 5);
    assert_memory_equal(a.units, b.units, sizeof a.units);
    b = policy_next(&many, 2, 5);
    assert_memory_not_equal(a.units, b.units, sizeof a.units);
    b = policy_next(&many, 1, 6);
    assert_memory_not_equal(a.units, b.units, sizeof a.units);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_goes_through_its_phases_and_ends),
        cmocka_unit_test(other_policies_learn_from_random_images),
        cmocka_unit_test(units_come_equally_often_in_order_without_repeats),
        cmocka_unit_test(fewer_units_than_asked_for_are_all_taken),
        cmocka_unit_test(the_seed_and_the_trial_decide_the_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
