#include "supply.h"

#include <errno.h>
#include <string.h>

#include "protocol/memory.h"
#include "protocol/wire.h"
#include "stimulus/job.h"

struct worker {
    int busy;
    uint64_t job;
    void *snapshot;
};

struct supply {
    struct supply_conf conf;
    struct worker *workers;    /* (n_workers) */
    struct supply_slot *slots; /* (n_slots) */
    int n_slots;
    int n_busy, n_ready;
    int64_t n_planned; /* stimuli asked of the policy so far */
    uint64_t n_jobs;
    uint64_t n_ordered;
    int over; /* the policy has no more */
};

static size_t lay_out(struct supply *supply, const struct supply_conf *conf, void *mem)
{
    struct memory memory = {mem, 0};
    size_t n_pixels = (size_t)conf->height * (size_t)conf->width;

    memory_take(&memory, 1, sizeof(*supply));
    /* two more than can be ready: the one that is shown, and one whose trial has ended
     * but is not learned from yet */
    supply->n_slots = conf->n_ahead + conf->n_workers + 2;
    supply->workers =
        memory_take(&memory, (size_t)conf->n_workers, sizeof(struct worker));
    supply->slots =
        memory_take(&memory, (size_t)supply->n_slots, sizeof(struct supply_slot));
    for (int i = 0; i < conf->n_workers; i++) {
        void *snapshot = memory_take(&memory, 1, conf->snapshot_size);
        if (mem)
            supply->workers[i].snapshot = snapshot;
    }
    for (int i = 0; i < supply->n_slots; i++) {
        uint8_t *pixels = memory_take(&memory, n_pixels, 1);
        if (mem)
            supply->slots[i].pixels = pixels;
    }
    return memory.size;
}

size_t supply_size(const struct supply_conf *conf)
{
    struct supply measured;
    return lay_out(&measured, conf, NULL);
}

struct supply *supply_init(void *mem, const struct supply_conf *conf)
{
    struct supply *supply = memset(mem, 0, supply_size(conf));

    supply->conf = *conf;
    lay_out(supply, conf, mem);
    return supply;
}

int supply_plan(struct supply *supply, const struct model *model, struct outbox *out)
{
    struct policy_choice choice;
    struct event *ev;
    uint32_t w = 0;

    while (w < (uint32_t)supply->conf.n_workers && supply->workers[w].busy)
        w++;
    if (supply->over || w == (uint32_t)supply->conf.n_workers ||
        supply->n_busy + supply->n_ready >= supply->conf.n_ahead)
        return 0;
    choice = policy_next(&supply->conf.policy, supply->conf.seed, supply->n_planned);
    if (choice.kind == 0) {
        supply->over = 1;
        return 0;
    }
    ev = outbox_add(out, EVENT_JOB);
    ev->job.job = supply->n_jobs++;
    ev->job.kind = choice.kind;
    ev->job.unit = choice.unit;
    ev->job.slot = w;
    ev->job.seed = (uint64_t)supply->n_planned++;
    ev->job.max_steps = supply->conf.max_steps;
    if (job_needs_snapshot(choice.kind)) {
        model_snapshot(model, choice.units, choice.n_units, supply->workers[w].snapshot);
        ev->job.model = snapshot_hash(supply->workers[w].snapshot);
    }
    supply->workers[w].busy = 1;
    supply->workers[w].job = ev->job.job;
    supply->n_busy++;
    return 1;
}

static void send_stimulus(const struct supply *supply, const struct supply_slot *slot,
                          struct outbox *out)
{
    struct event *ev = outbox_add(out, EVENT_STIMULUS);
    ev->stimulus.hash = slot->hash;
    ev->stimulus.height = (uint32_t)supply->conf.height;
    ev->stimulus.width = (uint32_t)supply->conf.width;
    ev->stimulus.dtype = DTYPE_U8;
    ev->data = slot->pixels;
    ev->data_size = (uint32_t)(supply->conf.height * supply->conf.width);
}

int supply_result(struct supply *supply, const struct event *result, struct outbox *out)
{
    struct worker *worker = &supply->workers[result->result.slot];
    struct supply_slot *slot = supply->slots;
    uint64_t hash;

    if (result->result.slot >= (uint32_t)supply->conf.n_workers || !worker->busy ||
        worker->job != result->result.job || result->result.dtype != DTYPE_U8 ||
        result->result.height != (uint32_t)supply->conf.height ||
        result->result.width != (uint32_t)supply->conf.width)
        return -EINVAL;
    hash = wire_hash_stimulus(result->result.height, result->result.width, DTYPE_U8,
                              result->data);
    if (hash != result->result.hash)
        return -EINVAL;
    while (slot->state != SLOT_FREE)
        slot++;
    CHECK(slot < supply->slots + supply->n_slots);
    worker->busy = 0;
    supply->n_busy--;
    supply->n_ready++;
    slot->state = SLOT_READY;
    slot->order = supply->n_ordered++;
    slot->hash = hash;
    slot->kind = result->result.kind;
    slot->unit = result->result.unit;
    slot->attempt = 1;
    memcpy(slot->pixels, result->data, result->data_size);
    send_stimulus(supply, slot, out);
    return 0;
}

struct supply_slot *supply_next(struct supply *supply)
{
    struct supply_slot *next = NULL;

    for (int i = 0; i < supply->n_slots; i++) {
        struct supply_slot *slot = &supply->slots[i];
        if (slot->state == SLOT_READY && (!next || slot->order < next->order))
            next = slot;
    }
    if (next) {
        next->state = SLOT_TAKEN;
        supply->n_ready--;
    }
    return next;
}

void supply_again(struct supply *supply, struct supply_slot *slot, struct outbox *out)
{
    CHECK_EQ(slot->state, SLOT_TAKEN);
    slot->state = SLOT_READY;
    slot->order = supply->n_ordered++;
    slot->attempt++;
    supply->n_ready++;
    send_stimulus(supply, slot, out);
}

void supply_done(struct supply_slot *slot)
{
    CHECK_EQ(slot->state, SLOT_TAKEN);
    slot->state = SLOT_FREE;
}

void supply_resend(struct supply *supply, struct outbox *out)
{
    for (int i = 0; i < supply->n_slots; i++)
        if (supply->slots[i].state == SLOT_READY)
            send_stimulus(supply, &supply->slots[i], out);
}

int supply_is_over(const struct supply *supply)
{
    return supply->over && supply->n_busy == 0 && supply->n_ready == 0;
}

void *supply_snapshot(const struct supply *supply, uint32_t slot)
{
    CHECK(slot < (uint32_t)supply->conf.n_workers);
    return supply->workers[slot].snapshot;
}
