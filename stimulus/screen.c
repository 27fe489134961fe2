#include "screen.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <SDL.h>

#include "geometry.h"
#include "protocol/clock.h"
#include "protocol/log.h"

#define WINDOW_WIDTH_PX  800
#define WINDOW_HEIGHT_PX 600
#define N_FIT            60
#define REFRESH_MIN_HZ   20.0
#define REFRESH_MAX_HZ   500.0
#define SETTLE_NS        (100 * NS_PER_MS)
#define SETTLE_MAX_NS    (2 * NS_PER_S)
#define DRAW_MAX_NS      (3 * NS_PER_MS)

struct screen {
    SDL_Window *window;
    SDL_Renderer *renderer;
    SDL_Texture **slots; /* (n_slots), of the patch's size */
    int n_slots;
    int is_synced; /* a flip waits for the vertical blank */
    int is_lost;   /* drawing failed */
    int width_px, height_px;
    uint8_t grey;
    struct geometry_rect patch, diode;
    struct flip_clock clock;
    uint8_t *row; /* (patch width) grey levels */
    float *light; /* (4096) one row of a stimulus */
    char text[64];
};

/* The grey level of a linear light; the one place where light becomes numbers. */
static uint8_t level_of(double light)
{
    return (uint8_t)lround(255.0 * light);
}

static uint32_t argb_of(uint8_t level)
{
    return 0xff000000u | level * 0x010101u;
}

static void set_hints(void)
{
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    SDL_SetHint(SDL_HINT_RENDER_SCALE_QUALITY, "nearest");
    SDL_SetHint(SDL_HINT_VIDEO_DOUBLE_BUFFER,
                "1"); /* else a flip returns a frame early */
    SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "0");
    SDL_SetHint(SDL_HINT_VIDEO_MINIMIZE_ON_FOCUS_LOSS, "0");
    SDL_SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "1");
}

/* Drivers that need no screen start only if the hint names them, too. */
static int try_driver(const char *driver)
{
    SDL_SetHintWithPriority(SDL_HINT_VIDEODRIVER, driver, SDL_HINT_OVERRIDE);
    int err = SDL_VideoInit(driver);
    SDL_ResetHint(SDL_HINT_VIDEODRIVER);
    return err;
}

/* Once for the process: a display server that loses its last client may start again, and
 * the next window would not find it. */
static int start_video(const char *driver)
{
    const char *running = SDL_GetCurrentVideoDriver();
    if (running && (!driver || strcmp(driver, running) == 0))
        return 0;
    SDL_VideoQuit();
    atexit(SDL_VideoQuit);
    set_hints();
    if (driver) {
        if (try_driver(driver) == 0)
            return 0;
        log_line(LOG_ERROR, "screen: video driver %s does not start: %s", driver,
                 SDL_GetError());
        return -ENODEV;
    }
    char reason[128] = "no other driver";
    if (SDL_VideoInit(NULL) == 0) {
        if (SDL_strcmp(SDL_GetCurrentVideoDriver(), "offscreen") != 0)
            return 0;
        SDL_VideoQuit(); /* SDL's own last resort: its frames wait for a software GL */
    } else {
        SDL_strlcpy(reason, SDL_GetError(), sizeof reason);
    }
    static const char *const without_screen[] = {"dummy", "offscreen"};
    for (size_t i = 0; i < SDL_arraysize(without_screen); i++) {
        if (try_driver(without_screen[i]) != 0)
            continue;
        log_line(LOG_WARNING,
                 "screen: no screen (%s): nobody sees what the %s driver shows", reason,
                 without_screen[i]);
        return 0;
    }
    log_line(LOG_ERROR, "screen: no video driver works: %s", reason);
    return -ENODEV;
}

/* A window manager gives the window its size when it likes. */
static void settle(struct screen *screen)
{
    int64_t now_ns = clock_now_ns(), until_ns = now_ns + SETTLE_MAX_NS, since_ns = now_ns;
    int width = 0, height = 0;
    while (now_ns < until_ns && now_ns - since_ns < SETTLE_NS) {
        int width_before = width, height_before = height;
        SDL_PumpEvents();
        SDL_GetWindowSize(screen->window, &width, &height);
        now_ns = clock_now_ns();
        if (width != width_before || height != height_before)
            since_ns = now_ns;
        clock_sleep_until_ns(now_ns + SETTLE_NS / 10);
    }
    SDL_FlushEvent(SDL_WINDOWEVENT);
}

static int open_window(struct screen *screen, const struct event *settings)
{
    uint32_t flags = SDL_WINDOW_ALLOW_HIGHDPI;
    SDL_Rect place = {SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED, WINDOW_WIDTH_PX,
                      WINDOW_HEIGHT_PX};
    /* As large as the screen from the start: without a window manager nobody else makes
     * it so. */
    if (settings->screen.fullscreen && SDL_GetDisplayBounds(0, &place) == 0)
        flags |= SDL_WINDOW_FULLSCREEN_DESKTOP | SDL_WINDOW_BORDERLESS;
    screen->window = SDL_CreateWindow("Evoke", place.x, place.y, place.w, place.h, flags);
    if (!screen->window) {
        log_line(LOG_ERROR, "screen: no window: %s", SDL_GetError());
        return -ENODEV;
    }
    SDL_ShowCursor(SDL_DISABLE);
    return 0;
}

/* Draws a known texture and reads it back: a renderer whose functions were not all found
 * draws nothing, fast, and reports no error. */
static int renderer_draws(SDL_Renderer *renderer)
{
    const uint32_t wanted[4] = {argb_of(1), argb_of(128), argb_of(200), argb_of(255)};
    uint32_t seen[4] = {0};
    SDL_Rect rect = {3, 5, 2, 2};
    SDL_Texture *texture = SDL_CreateTexture(renderer, SDL_PIXELFORMAT_ARGB8888,
                                             SDL_TEXTUREACCESS_STATIC, 2, 2);
    if (!texture)
        return 0;
    SDL_SetTextureBlendMode(texture, SDL_BLENDMODE_NONE);
    int err = SDL_UpdateTexture(texture, NULL, wanted, 2 * sizeof wanted[0]);
    err |= SDL_SetRenderDrawColor(renderer, 77, 77, 77, 255);
    err |= SDL_RenderClear(renderer);
    err |= SDL_RenderCopy(renderer, texture, NULL, &rect);
    err |= SDL_RenderReadPixels(renderer, &rect, SDL_PIXELFORMAT_ARGB8888, seen,
                                2 * sizeof seen[0]);
    SDL_DestroyTexture(texture);
    for (int i = 0; i < 4; i++)
        err |= (seen[i] & 0xffffffu) != (wanted[i] & 0xffffffu);
    return !err;
}

static int open_renderer(struct screen *screen)
{
    const char *wanted = SDL_GetHint(SDL_HINT_RENDER_DRIVER);
    SDL_RendererInfo info;
    for (int i = 0; i < SDL_GetNumRenderDrivers(); i++) {
        if (SDL_GetRenderDriverInfo(i, &info) != 0 ||
            (wanted && *wanted && strcmp(wanted, info.name) != 0))
            continue;
        screen->renderer =
            SDL_CreateRenderer(screen->window, i, SDL_RENDERER_PRESENTVSYNC);
        if (!screen->renderer)
            continue;
        settle(screen); /* a renderer may need another window than the one there is */
        if (renderer_draws(screen->renderer))
            return 0;
        log_line(LOG_WARNING,
                 "screen: renderer %s does not draw what it is told: not used",
                 info.name);
        SDL_DestroyRenderer(screen->renderer);
        screen->renderer = NULL;
    }
    log_line(LOG_ERROR, "screen: no renderer works: %s", SDL_GetError());
    return -ENODEV;
}

static int lay_out(struct screen *screen, const struct event *settings)
{
    SDL_GetRendererOutputSize(screen->renderer, &screen->width_px, &screen->height_px);
    const struct geometry geometry = {.width_cm = settings->screen.width_cm,
                                      .height_cm = settings->screen.height_cm,
                                      .distance_cm = settings->screen.distance_cm,
                                      .width_px = screen->width_px,
                                      .height_px = screen->height_px};
    screen->grey = level_of(settings->screen.grey);
    if (geometry_patch(&geometry, settings->screen.x_deg, settings->screen.y_deg,
                       settings->screen.size_deg, &screen->patch) != 0) {
        log_line(
            LOG_ERROR,
            "screen: a patch of %g deg at (%g, %g) deg is not on a screen of %g x %g "
            "cm at %g cm: change its place, its size or the screen's",
            settings->screen.size_deg, settings->screen.x_deg, settings->screen.y_deg,
            geometry.width_cm, geometry.height_cm, geometry.distance_cm);
        return -EINVAL;
    }
    if (geometry_diode(&geometry, settings->screen.diode_deg,
                       settings->screen.diode_corner, &screen->diode) != 0) {
        log_line(LOG_ERROR, "screen: no photodiode square of %g deg in corner %u",
                 settings->screen.diode_deg, settings->screen.diode_corner);
        return -EINVAL;
    }
    return 0;
}

static void fill_grey(struct screen *screen, int slot)
{
    void *pixels;
    int pitch;
    if (SDL_LockTexture(screen->slots[slot], NULL, &pixels, &pitch) != 0)
        return;
    memset(pixels, screen->grey, (size_t)pitch * (size_t)screen->patch.height_px);
    SDL_UnlockTexture(screen->slots[slot]);
}

static int take_memory(struct screen *screen, int n_slots)
{
    screen->row = malloc((size_t)screen->patch.width_px * sizeof *screen->row);
    screen->light = malloc(4096 * sizeof *screen->light);
    screen->slots = calloc((size_t)n_slots, sizeof(SDL_Texture *));
    if (!screen->row || !screen->light || !screen->slots)
        return -ENOMEM;
    screen->n_slots = n_slots;
    for (int i = 0; i < n_slots; i++) {
        screen->slots[i] = SDL_CreateTexture(
            screen->renderer, SDL_PIXELFORMAT_ARGB8888, SDL_TEXTUREACCESS_STREAMING,
            screen->patch.width_px, screen->patch.height_px);
        if (!screen->slots[i]) {
            log_line(LOG_ERROR, "screen: no texture of %d x %d pixels: %s",
                     screen->patch.width_px, screen->patch.height_px, SDL_GetError());
            return -ENOMEM;
        }
        SDL_SetTextureBlendMode(screen->slots[i], SDL_BLENDMODE_NONE);
        fill_grey(screen, i);
    }
    return 0;
}

/* SDL imitates a vertical blank by sleeping where there is none: ask the context. */
static int claims_vsync(struct screen *screen)
{
    const char *driver = SDL_GetCurrentVideoDriver();
    SDL_RendererInfo info;
    return strcmp(driver, "dummy") != 0 && strcmp(driver, "offscreen") != 0 &&
           SDL_GetRendererInfo(screen->renderer, &info) == 0 &&
           (info.flags & SDL_RENDERER_ACCELERATED) && SDL_GL_GetSwapInterval() > 0;
}

static void present(struct screen *screen)
{
    SDL_RenderPresent(screen->renderer);
    if (screen->is_synced) {
        /* Drivers queue frames ahead; reading the next one back waits for this one. */
        uint32_t pixel;
        const SDL_Rect corner = {0, 0, 1, 1};
        SDL_RenderReadPixels(screen->renderer, &corner, SDL_PIXELFORMAT_ARGB8888, &pixel,
                             sizeof pixel);
    }
}

static SDL_Rect sdl_rect(const struct geometry_rect *rect)
{
    return (SDL_Rect){rect->x_px, rect->y_px, rect->width_px, rect->height_px};
}

static void draw(struct screen *screen, int slot, uint8_t diode_level)
{
    int err = SDL_SetRenderDrawColor(screen->renderer, screen->grey, screen->grey,
                                     screen->grey, 255);
    err |= SDL_RenderClear(screen->renderer);
    if (slot >= 0) {
        CHECK(slot < screen->n_slots);
        const SDL_Rect patch = sdl_rect(&screen->patch);
        err |= SDL_RenderCopy(screen->renderer, screen->slots[slot], NULL, &patch);
    }
    if (screen->diode.width_px > 0) {
        const SDL_Rect diode = sdl_rect(&screen->diode);
        err |= SDL_SetRenderDrawColor(screen->renderer, diode_level, diode_level,
                                      diode_level, 255);
        err |= SDL_RenderFillRect(screen->renderer, &diode);
    }
    err |= SDL_RenderFlush(screen->renderer); /* not left for the flip to do */
    screen->is_lost |= err != 0;
}

/* Flips that show nothing but grey, so that shaders are compiled and textures are where
 * they belong before the first trial; then the clock that the flips keep. A vertical blank
 * is believed in only if it was measured. */
static void find_clock(struct screen *screen, double nominal_hz)
{
    int64_t returned_ns[N_FIT];
    int n_fit = 0;
    screen->is_synced = claims_vsync(screen);
    for (int i = 0; i < screen->n_slots || (screen->is_synced && n_fit < N_FIT); i++) {
        draw(screen, i % screen->n_slots, 0);
        present(screen);
        if (i >= screen->n_slots)
            returned_ns[n_fit++] = clock_now_ns();
        screen_wants_to_close(screen);
    }
    if (screen->is_synced && flip_clock_fit(&screen->clock, returned_ns, n_fit) == 0) {
        double hz = 1e9 / screen->clock.period_ns;
        SDL_DisplayMode mode = {0};
        SDL_GetWindowDisplayMode(screen->window, &mode);
        if (hz >= REFRESH_MIN_HZ && hz <= REFRESH_MAX_HZ &&
            (mode.refresh_rate == 0 || fabs(hz / mode.refresh_rate - 1.0) < 0.1))
            return;
        log_line(LOG_WARNING,
                 "screen: flips return at %.2f Hz, the mode says %d Hz: not believed", hz,
                 mode.refresh_rate);
    }
    screen->is_synced = 0;
    SDL_RenderSetVSync(screen->renderer, 0);
    flip_clock_pace(&screen->clock, 1e9 / nominal_hz, clock_now_ns());
}

static int open_all(struct screen *screen, const struct event *settings,
                    const struct screen_conf *conf)
{
    int err = start_video(conf->driver);
    if (!err)
        err = open_window(screen, settings);
    if (!err)
        err = open_renderer(screen);
    if (!err)
        err = lay_out(screen, settings);
    if (!err)
        err = take_memory(screen, conf->n_slots);
    return err;
}

int screen_open(struct screen **out, const struct event *settings,
                const struct screen_conf *conf)
{
    CHECK(conf->n_slots > 0 && conf->refresh_hz > 0.0);
    if (!(settings->screen.grey >= 0.0 && settings->screen.grey <= 1.0)) {
        log_line(LOG_ERROR, "screen: grey %g is not between 0 and 1",
                 settings->screen.grey);
        return -EINVAL;
    }
    struct screen *screen = calloc(1, sizeof *screen);
    if (!screen)
        return -ENOMEM;
    int err = open_all(screen, settings, conf);
    if (err) {
        screen_close(screen);
        return err;
    }
    find_clock(screen, conf->refresh_hz);
    SDL_RendererInfo info = {0};
    SDL_GetRendererInfo(screen->renderer, &info);
    snprintf(screen->text, sizeof screen->text, "%s/%s", SDL_GetCurrentVideoDriver(),
             info.name);
    *out = screen;
    return 0;
}

void screen_close(struct screen *screen)
{
    if (!screen)
        return;
    for (int i = 0; i < screen->n_slots; i++)
        if (screen->slots[i])
            SDL_DestroyTexture(screen->slots[i]);
    if (screen->renderer)
        SDL_DestroyRenderer(screen->renderer);
    if (screen->window)
        SDL_DestroyWindow(screen->window);
    free(screen->slots);
    free(screen->light);
    free(screen->row);
    free(screen);
}

void screen_describe(const struct screen *screen, struct event *ev)
{
    *ev = (struct event){.type = EVENT_DISPLAY};
    ev->display.refresh_hz = 1e9 / screen->clock.period_ns;
    ev->display.width_px = (uint32_t)screen->width_px;
    ev->display.height_px = (uint32_t)screen->height_px;
    ev->display.quality = screen->clock.quality;
    ev->display.n_text = (uint32_t)strlen(screen->text);
    ev->data = screen->text;
    ev->data_size = ev->display.n_text;
}

double screen_period_ns(const struct screen *screen)
{
    return screen->clock.period_ns;
}

/* Row of a stimulus (width) as grey levels of the patch's width. */
static int fill_row(struct screen *screen, const struct event *ev, uint32_t row)
{
    uint32_t width = ev->stimulus.width, dtype = ev->stimulus.dtype;
    const uint8_t *data =
        (const uint8_t *)ev->data + (size_t)row * width * dtype_size(dtype);
    dtype_light(data, dtype, width, screen->light);
    for (uint32_t i = 0; i < width; i++)
        if (!(screen->light[i] >= 0.0f && screen->light[i] <= 1.0f))
            return -ERANGE;
    uint64_t n = (uint64_t)screen->patch.width_px;
    for (uint64_t x = 0; x < n; x++)
        screen->row[x] = level_of((double)screen->light[(2 * x + 1) * width / (2 * n)]);
    return 0;
}

int screen_store(struct screen *screen, int slot, const struct event *ev)
{
    CHECK(slot >= 0 && slot < screen->n_slots && ev->stimulus.width <= 4096);
    void *pixels;
    int pitch, err = 0;
    if (SDL_LockTexture(screen->slots[slot], NULL, &pixels, &pitch) != 0)
        return -EIO;
    int64_t row_before = -1;
    uint64_t n = (uint64_t)screen->patch.height_px;
    for (uint64_t y = 0; y < n && !err; y++) {
        uint32_t row = (uint32_t)((2 * y + 1) * ev->stimulus.height / (2 * n));
        if (row != row_before)
            err = fill_row(screen, ev, row);
        row_before = row;
        uint32_t *line = (uint32_t *)((uint8_t *)pixels + y * (uint64_t)pitch);
        for (int x = 0; x < screen->patch.width_px; x++)
            line[x] = argb_of(screen->row[x]);
    }
    SDL_UnlockTexture(screen->slots[slot]);
    return err;
}

void screen_draw(struct screen *screen, int slot)
{
    draw(screen, slot, slot >= 0 ? 255 : 0);
}

int screen_flip(struct screen *screen, struct flip *flip)
{
    if (!screen->is_synced)
        clock_sleep_until_ns(screen_due_ns(screen));
    present(screen);
    /* A kernel's stamp of the flip (quality HARDWARE) is read here, when there is one. */
    *flip = (struct flip){.returned_ns = clock_now_ns()};
    flip_clock_stamp(&screen->clock, flip);
    if (screen->is_lost) {
        log_line(LOG_ERROR, "screen: drawing failed: %s", SDL_GetError());
        return -EIO;
    }
    return 0;
}

int64_t screen_due_ns(const struct screen *screen)
{
    return flip_clock_next_ns(&screen->clock);
}

int64_t screen_draw_by_ns(const struct screen *screen)
{
    double draw_ns = fmin((double)DRAW_MAX_NS, screen->clock.period_ns / 3.0);
    return screen_due_ns(screen) - llround(draw_ns);
}

int screen_read_pixels(struct screen *screen, uint8_t *rgb)
{
    return SDL_RenderReadPixels(screen->renderer, NULL, SDL_PIXELFORMAT_RGB24, rgb,
                                3 * screen->width_px)
               ? -EIO
               : 0;
}

static int has_other_size(struct screen *screen)
{
    int width_px, height_px;
    SDL_GetRendererOutputSize(screen->renderer, &width_px, &height_px);
    if (width_px == screen->width_px && height_px == screen->height_px)
        return 0;
    SDL_SetError("the window is %d x %d pixels now", width_px, height_px);
    return 1;
}

int screen_wants_to_close(struct screen *screen)
{
    int wanted = 0;
    SDL_Event event;
    for (int i = 0; i < 32 && SDL_PollEvent(&event); i++) {
        if (event.type == SDL_QUIT ||
            (event.type == SDL_KEYDOWN && event.key.keysym.sym == SDLK_ESCAPE))
            wanted = 1;
        if (event.type == SDL_RENDER_DEVICE_RESET ||
            (event.type == SDL_WINDOWEVENT && has_other_size(screen)))
            screen->is_lost = 1;
    }
    return wanted;
}
