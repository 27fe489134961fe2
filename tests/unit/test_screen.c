#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/clock.h"
#include "stimulus/screen.h"

#define WIDTH   800
#define HEIGHT  600
#define N_SLOTS 3

static const struct screen_conf conf = {
    .driver = "dummy", .refresh_hz = 500.0, .n_slots = N_SLOTS};
static uint64_t random_state;

static int setup(void **state)
{
    (void)state;
    const char *text = getenv("EVOKE_SEED");
    random_state = text ? strtoull(text, NULL, 0) : 4242;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)random_state);
    return 0;
}

static uint32_t draw(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static struct event settings(void)
{
    struct event ev = {.type = EVENT_SCREEN};
    ev.screen.width_cm = 40.0;
    ev.screen.height_cm = 30.0;
    ev.screen.distance_cm = 57.0;
    ev.screen.size_deg = 8.0;
    ev.screen.grey = 0.5;
    ev.screen.silence_ns = 1000000000;
    return ev;
}

/* The picture by definition, pixel by pixel, in doubles. data: dtype[height][width]. */
static void paint(const struct event *set, const struct event *stimulus, uint8_t *rgb)
{
    const double to_px_x = WIDTH / set->screen.width_cm * set->screen.distance_cm;
    const double to_px_y = HEIGHT / set->screen.height_cm * set->screen.distance_cm;
    const double rad = acos(-1.0) / 180.0, half = set->screen.size_deg / 2.0;
    const double x = set->screen.x_deg, y = set->screen.y_deg;
    double left = floor(WIDTH / 2.0 + to_px_x * tan((x - half) * rad) + 0.5);
    double right = floor(WIDTH / 2.0 + to_px_x * tan((x + half) * rad) + 0.5);
    double top = floor(HEIGHT / 2.0 - to_px_y * tan((y + half) * rad) + 0.5);
    double bottom = floor(HEIGHT / 2.0 - to_px_y * tan((y - half) * rad) + 0.5);
    double diode_x = floor(2.0 * to_px_x * tan(set->screen.diode_deg / 2.0 * rad) + 0.5);
    double diode_y = floor(2.0 * to_px_y * tan(set->screen.diode_deg / 2.0 * rad) + 0.5);
    unsigned corner = set->screen.diode_corner;

    for (int row = 0; row < HEIGHT; row++)
        for (int col = 0; col < WIDTH; col++) {
            double light = set->screen.grey;
            if (stimulus && col >= left && col < right && row >= top && row < bottom) {
                double u = (col - left + 0.5) / (right - left) * stimulus->stimulus.width;
                double v = (row - top + 0.5) / (bottom - top) * stimulus->stimulus.height;
                /* the middle of a pixel on a border: the pixel to the right of it */
                size_t i = (size_t)floor(v + 1e-9) * stimulus->stimulus.width +
                           (size_t)floor(u + 1e-9);
                double value =
                    (double)dtype_get(stimulus->data, stimulus->stimulus.dtype, i);
                light = stimulus->stimulus.dtype == DTYPE_U8    ? value / 255.0
                        : stimulus->stimulus.dtype == DTYPE_U16 ? value / 65535.0
                                                                : value;
            }
            int in_x =
                corner == 1 || corner == 3 ? col < diode_x : col >= WIDTH - diode_x;
            int in_y = corner <= 2 ? row < diode_y : row >= HEIGHT - diode_y;
            if (corner && in_x && in_y)
                light = stimulus ? 1.0 : 0.0;
            memset(rgb + 3 * (row * WIDTH + col), (int)floor(255.0 * light + 0.5), 3);
        }
}

static struct event make_stimulus(void *data)
{
    struct event ev = {.type = EVENT_STIMULUS, .data = data};
    uint32_t height = 1 + draw(40), width = 1 + draw(40), dtype = 1 + draw(3);
    for (uint32_t i = 0; i < height * width; i++)
        if (dtype == DTYPE_U8)
            ((uint8_t *)data)[i] = (uint8_t)draw(256);
        else if (dtype == DTYPE_U16)
            ((uint16_t *)data)[i] = (uint16_t)draw(65536);
        else
            ((float *)data)[i] = (float)draw(256) / 255.0f;
    ev.stimulus.height = height;
    ev.stimulus.width = width;
    ev.stimulus.dtype = dtype;
    ev.data_size = (uint32_t)(height * width * dtype_size(dtype));
    return ev;
}

static uint8_t seen[3 * WIDTH * HEIGHT + 1], wanted[3 * WIDTH * HEIGHT];

static void assert_picture(struct screen *screen, const struct event *set,
                           const struct event *stimulus, int slot)
{
    seen[3 * WIDTH * HEIGHT] = 99;
    screen_draw(screen, slot);
    assert_int_equal(screen_read_pixels(screen, seen), 0);
    paint(set, stimulus, wanted);
    for (int i = 0; i < 3 * WIDTH * HEIGHT; i++)
        if (seen[i] != wanted[i])
            fail_msg("row %d column %d colour %d: %d is on the screen, should be %d",
                     i / 3 / WIDTH, i / 3 % WIDTH, i % 3, seen[i], wanted[i]);
    assert_int_equal(seen[3 * WIDTH * HEIGHT], 99);
}

static void test_every_pixel(void **state)
{
    (void)state;
    static float data[N_SLOTS][40 * 40];
    for (int round = 0; round < 12; round++) {
        struct event set = settings();
        set.screen.x_deg =
            (double)draw(400) / 10.0 - 20.0; /* partly off the screen, too */
        set.screen.y_deg = (double)draw(300) / 10.0 - 15.0;
        set.screen.size_deg = 0.5 + (double)draw(200) / 10.0;
        set.screen.diode_deg = (double)draw(50) / 10.0;
        set.screen.diode_corner = draw(5);
        set.screen.grey = (double)draw(256) / 255.0;
        struct screen *screen;
        assert_int_equal(screen_open(&screen, &set, &conf), 0);
        struct event stimuli[N_SLOTS];
        for (int slot = 0; slot < N_SLOTS; slot++) {
            stimuli[slot] = make_stimulus(data[slot]);
            assert_int_equal(screen_store(screen, slot, &stimuli[slot]), 0);
        }
        for (int slot = 0; slot < N_SLOTS; slot++) {
            struct flip flip;
            assert_picture(screen, &set, &stimuli[slot], slot);
            assert_int_equal(screen_flip(screen, &flip), 0);
            assert_picture(screen, &set, NULL, -1);
        }
        screen_close(screen);
    }
}

static void test_all_grey_levels_are_exact(void **state)
{
    (void)state;
    uint8_t data[256];
    for (int i = 0; i < 256; i++)
        data[i] = (uint8_t)i;
    struct event stimulus = {.type = EVENT_STIMULUS, .data = data, .data_size = 256};
    stimulus.stimulus.height = stimulus.stimulus.width = 16;
    stimulus.stimulus.dtype = DTYPE_U8;
    struct event set = settings();
    struct screen *screen;
    assert_int_equal(screen_open(&screen, &set, &conf), 0);
    assert_int_equal(screen_store(screen, 0, &stimulus), 0);
    assert_picture(screen, &set, &stimulus, 0);
    int is_there[256] = {0};
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        is_there[seen[3 * i]] = 1;
    for (int i = 0; i < 256; i++)
        assert_true(is_there[i]);
    assert_int_equal(seen[0], 128); /* 0.5 of the light is level 127.5, rounded up */
    screen_close(screen);
}

static void test_light_beyond_the_screen(void **state)
{
    (void)state;
    const float bad[] = {1.001f, -0.001f, INFINITY, NAN};
    struct event set = settings();
    struct screen *screen;
    assert_int_equal(screen_open(&screen, &set, &conf), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        float data[4] = {0.0f, 1.0f, bad[i], 0.5f};
        struct event stimulus = {.type = EVENT_STIMULUS, .data = data, .data_size = 16};
        stimulus.stimulus.height = stimulus.stimulus.width = 2;
        stimulus.stimulus.dtype = DTYPE_F32;
        assert_int_equal(screen_store(screen, 0, &stimulus), -ERANGE);
    }
    screen_close(screen);
}

static void test_flips_of_a_driver_without_blank(void **state)
{
    (void)state;
    struct event set = settings(), told;
    struct screen *screen;
    assert_int_equal(screen_open(&screen, &set, &conf), 0);
    screen_describe(screen, &told);
    assert_int_equal(told.type, EVENT_DISPLAY);
    assert_int_equal(told.display.quality, QUALITY_NONE);
    assert_int_equal(told.display.width_px, WIDTH);
    assert_int_equal(told.display.height_px, HEIGHT);
    assert_true(told.display.refresh_hz == 500.0);
    assert_int_equal(told.data_size, event_data_size(&told));
    assert_memory_equal(told.data, "dummy/", 6);
    uint64_t sequence = 0;
    for (int i = 0; i < 50; i++) {
        struct flip flip;
        int64_t due_ns = screen_due_ns(screen);
        assert_true(screen_draw_by_ns(screen) < due_ns);
        screen_draw(screen, -1);
        assert_int_equal(screen_flip(screen, &flip), 0);
        assert_int_equal(flip.quality, QUALITY_NONE);
        assert_int_equal(flip.requested_ns, due_ns);
        assert_true(flip.returned_ns >= due_ns);
        assert_true(flip.returned_ns <= clock_now_ns());
        assert_int_equal(flip.sequence, sequence + 1 + flip.n_missed);
        sequence = flip.sequence;
    }
    screen_close(screen);
}

static void test_settings_that_no_screen_has(void **state)
{
    (void)state;
    struct screen *screen = NULL;
    struct event set = settings();
    set.screen.grey = NAN;
    assert_int_equal(screen_open(&screen, &set, &conf), -EINVAL);
    set = settings();
    set.screen.x_deg = 80.0;
    assert_int_equal(screen_open(&screen, &set, &conf), -EINVAL);
    set = settings();
    set.screen.distance_cm = -1.0;
    assert_int_equal(screen_open(&screen, &set, &conf), -EINVAL);
    set = settings();
    set.screen.diode_corner = 9;
    assert_int_equal(screen_open(&screen, &set, &conf), -EINVAL);
    set = settings();
    const struct screen_conf nowhere = {
        .driver = "no such driver", .refresh_hz = 60.0, .n_slots = 1};
    assert_int_equal(screen_open(&screen, &set, &nowhere), -ENODEV);
    assert_null(screen);
    screen_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pixel),
        cmocka_unit_test(test_all_grey_levels_are_exact),
        cmocka_unit_test(test_light_beyond_the_screen),
        cmocka_unit_test(test_flips_of_a_driver_without_blank),
        cmocka_unit_test(test_settings_that_no_screen_has),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
