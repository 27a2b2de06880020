/* Semaphores: the only order between units. Page sync.md. */
#include "machine.h"

static bool bad_count(uint64_t count) { return count > SEMAPHORE_MAX; /* or negative */ }

enum step sync_wait(struct tile *t, unsigned unit, unsigned sem, uint64_t count, enum fault *fault)
{
    if (bad_count(count)) {
        *fault = BAD_COUNT;
        return STEP_FAULT;
    }
    if (t->waiter[sem] < 0)
        t->waiter[sem] = (int8_t)unit;
    if (t->waiter[sem] != (int8_t)unit) {
        *fault = SEMAPHORE_WAITER;
        return STEP_FAULT;
    }
    if (t->semaphore[sem] < count)
        return STEP_BLOCKED;
    t->semaphore[sem] -= (uint32_t)count;
    return STEP_DONE;
}

enum fault sync_signal(struct machine *m, struct tile *t, const struct issue *i)
{
    uint64_t first = t->id, last = t->id;
    unsigned sem = field_sem(i->word), scope = field_scope(i->word);
    if (bad_count(i->number))
        return BAD_COUNT;
    if (scope == SCOPE_TILE) {
        if (i->tile >= m->chip->tiles)
            return BAD_TILE;
        first = last = i->tile;
    } else if (scope == SCOPE_CLUSTER) {
        first = cluster_of(m, t) * m->chip->tiles_per_cluster;
        last = first + m->chip->tiles_per_cluster - 1;
    } else if (scope == SCOPE_ALL) {
        first = 0;
        last = m->chip->tiles - 1;
    }
    for (uint64_t to = first; to <= last; to++)
        if (m->tiles[to].semaphore[sem] + i->number > SEMAPHORE_MAX)
            return SEMAPHORE_OVERFLOW;
    for (uint64_t to = first; to <= last; to++)
        m->tiles[to].semaphore[sem] += (uint32_t)i->number;
    return FAULT_NONE;
}
