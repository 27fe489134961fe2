#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "models/twin_config.h"

#define CORE                                                                             \
    "\"input_channels\":1,\"hidden_channels\":8,\"input_kern\":5,\"hidden_kern\":3,"     \
    "\"layers\":3"
#define FILE_OF(core, readout, top)                                                      \
    "{\"core\":{" core "},\"readout\":{" readout "}," top "}"
#define GAUSSIAN "\"type\":\"FullGaussian2d\""
#define SHAPE    "\"input_shape\":[1,1,36,64]"

static int parse(const char *json, struct twin_config *config, char why[256])
{
    why[0] = '\0';
    return twin_config_parse(config, json, strlen(json), why, 256);
}

static void constructor_defaults_hold(void **state)
{
    (void)state;
    struct twin_config c;
    char why[256];
    if (parse(FILE_OF(CORE, GAUSSIAN, SHAPE), &c, why))
        fail_msg("%s", why);
    assert_int_equal(c.n_layers, 3);
    assert_int_equal(c.height, 36);
    assert_int_equal(c.width, 64);
    for (int l = 0; l < 3; l++) {
        assert_int_equal(c.hidden[l], 8);
        assert_int_equal(c.kernel[l], l ? 3 : 5);
        assert_int_equal(c.padding[l], l ? 1 : 2);
    }
    assert_int_equal(c.stack, 7); /* all layers */
    assert_int_equal(c.act, TWIN_ELU);
    assert_true(c.act_last && c.align_corners && c.normalize && !c.depth_separable);
    assert_int_equal(c.input_stride, 1);
    assert_int_equal(c.hidden_dilation, 1);
    assert_int_equal(c.pool_steps, 0);
    assert_true(c.bn_eps == 1e-5 && c.elu_offset == 0.0);
}

static void options_are_read(void **state)
{
    (void)state;
    struct twin_config c;
    char why[256];
    const struct {
        const char *more;
        unsigned stack;
        int padding[3];
    } cases[] = {
        {",\"stack\":-1", 4, {2, 1, 1}},
        {",\"stack\":-2", 6, {2, 1, 1}},
        {",\"stack\":1", 6, {2, 1, 1}},
        {",\"stack\":-9", 7, {2, 1, 1}},
        {",\"stack\":[0,2]", 5, {2, 1, 1}},
        {",\"stack\":[-1]", 4, {2, 1, 1}},
        {",\"stack\":null", 7, {2, 1, 1}},
        {",\"pad_input\":false", 7, {0, 1, 1}},
        {",\"hidden_dilation\":2", 7, {2, 2, 2}},
        {",\"hidden_padding\":0", 7, {2, 0, 0}},
        {",\"hidden_padding\":[0,1]", 7, {2, 0, 1}},
        {",\"hidden_padding\":null", 7, {2, 1, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[512];
        snprintf(json, sizeof json, "{\"core\":{%s%s},\"readout\":{%s},%s}", CORE,
                 cases[i].more, GAUSSIAN, SHAPE);
        if (parse(json, &c, why))
            fail_msg("%s: %s", cases[i].more, why);
        assert_int_equal(c.stack, cases[i].stack);
        for (int l = 0; l < 3; l++)
            assert_int_equal(c.padding[l], cases[i].padding[l]);
    }
    assert_int_equal(parse(FILE_OF(CORE ",\"elu_shift\":[0.5,-1]",
                                   "\"type\":\"PointPooled2d\",\"pool_steps\":2,"
                                   "\"pool_kern\":3,\"gamma_readout\":0.5",
                                   SHAPE ",\"elu_offset\":2,\"data_key\":\"m1\","
                                         "\"nonlinearity\":\"ELU+1\",\"else\":1"),
                           &c, why),
                     0);
    assert_true(c.elu_x == 0.5 && c.elu_y == -1.0 && c.elu_offset == 2.0);
    assert_int_equal(c.pool_steps, 2);
    assert_int_equal(c.pool_kernel, 3);
    assert_true(c.feature_reg == 0.5);
    assert_string_equal(c.key, "m1");
}

static void what_is_not_understood_is_named(void **state)
{
    (void)state;
    const struct {
        const char *json, *names;
    } cases[] = {
        {"", "JSON"},
        {"[1]", "JSON"},
        {"{}", "core"},
        {"{\"core\":1,\"readout\":{}}", "core"},
        {FILE_OF("", GAUSSIAN, SHAPE), "input_channels"},
        {FILE_OF("\"input_channels\":1", GAUSSIAN, SHAPE), "hidden_channels"},
        {FILE_OF(CORE ",\"twist\":1", GAUSSIAN, SHAPE), "twist"},
        {FILE_OF(CORE ",\"type\":\"TransferLearningCore\"", GAUSSIAN, SHAPE), "Transfer"},
        {FILE_OF(CORE ",\"attention_conv\":true", GAUSSIAN, SHAPE), "attention_conv"},
        {FILE_OF(CORE ",\"n_se_blocks\":2", GAUSSIAN, SHAPE), "n_se_blocks"},
        {FILE_OF(CORE ",\"stride\":2", GAUSSIAN, SHAPE), "stride"},
        {FILE_OF(CORE ",\"nonlinearity_type\":\"Tanh\"", GAUSSIAN, SHAPE), "Tanh"},
        {FILE_OF(CORE ",\"elu_shift\":[1]", GAUSSIAN, SHAPE), "elu_shift"},
        {FILE_OF(CORE ",\"skip\":-1", GAUSSIAN, SHAPE), "skip"},
        {FILE_OF(CORE ",\"stack\":[2,0]", GAUSSIAN, SHAPE), "stack"},
        {FILE_OF(CORE ",\"stack\":[3]", GAUSSIAN, SHAPE), "stack"},
        {FILE_OF(CORE ",\"depth_separable\":1", GAUSSIAN, SHAPE), "depth_separable"},
        {FILE_OF(CORE ",\"hidden_padding\":[1,1,1]", GAUSSIAN, SHAPE), "hidden_padding"},
        {FILE_OF("\"input_channels\":1,\"hidden_channels\":8,\"input_kern\":5,"
                 "\"hidden_kern\":3,\"layers\":99",
                 GAUSSIAN, SHAPE),
         "layers"},
        {FILE_OF("\"input_channels\":1,\"hidden_channels\":1e9,\"input_kern\":5,"
                 "\"hidden_kern\":3",
                 GAUSSIAN, SHAPE),
         "hidden_channels"},
        {FILE_OF(CORE, "", SHAPE), "type"},
        {FILE_OF(CORE, "\"type\":\"AttentionReadout\"", SHAPE), "AttentionReadout"},
        {FILE_OF(CORE, GAUSSIAN ",\"constrain_pos\":true", SHAPE), "positive"},
        {FILE_OF(CORE, GAUSSIAN ",\"shared_features\":{}", SHAPE), "shared_features"},
        {FILE_OF(CORE, GAUSSIAN ",\"grid_mean_predictor\":{\"x\":1}", SHAPE), "x"},
        {FILE_OF(CORE, GAUSSIAN ",\"in_shape\":[1,2]", SHAPE), "in_shape"},
        {FILE_OF(CORE, GAUSSIAN, "\"input_shape\":[1,36]"), "input_shape"},
        {FILE_OF(CORE, GAUSSIAN, "\"input_shape\":[3,36,64]"), "channels"},
        {FILE_OF(CORE, GAUSSIAN, "\"input_shape\":[1,36,9999999]"), "input_shape"},
        {FILE_OF(CORE, GAUSSIAN, SHAPE ",\"output_nonlinearity\":\"exp\""), "exp"},
        {FILE_OF(CORE, GAUSSIAN, SHAPE ",\"bn_eps\":0"), "bn_eps"},
        {FILE_OF(CORE, GAUSSIAN, SHAPE ",\"elu_offset\":\"a\""), "elu_offset"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct twin_config c;
        char why[256];
        if (parse(cases[i].json, &c, why) == 0)
            fail_msg("accepted: %s", cases[i].json);
        if (!strstr(why, cases[i].names))
            fail_msg("%s: \"%s\" does not name %s", cases[i].json, why, cases[i].names);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constructor_defaults_hold),
        cmocka_unit_test(options_are_read),
        cmocka_unit_test(what_is_not_understood_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
