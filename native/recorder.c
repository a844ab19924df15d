#include "recorder.h"
#include "guard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHUNK_FIRST 8192u
#define CHUNK_MAX 65536u
#define META_ROOM 40960u

struct pa_recorder pa_recorder = {.lock = PTHREAD_MUTEX_INITIALIZER, .image = 1};

static uint64_t never = 1;
uint64_t *pa_epoch = &never;
__thread struct pa_thread *pa_self __attribute__((tls_model("initial-exec")));

static pthread_key_t thread_key;

static void forked_without_wipe(void) { *pa_epoch = 0; }

static void thread_ended(void *value)
{
    struct pa_thread *t = value;
    pa_self = NULL;
    if (__atomic_load_n(pa_epoch, __ATOMIC_ACQUIRE) == 0 || t->image != pa_recorder.image)
        return; /* a forked child: its chunk is the parent's */
    pthread_mutex_lock(&pa_recorder.lock);
    t->next = pa_recorder.idle;
    pa_recorder.idle = t;
    pthread_mutex_unlock(&pa_recorder.lock);
}

int pa_recorder_init(const struct pa_settings *settings, uint32_t way)
{
    struct pa_recorder *r = &pa_recorder;
    if (r->installed)
        return -EALREADY;
    pa_clock_init();
    r->start = pa_clock_anchor();
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -errno;
    if (pthread_key_create(&thread_key, thread_ended) != 0)
        return -EAGAIN;
    if (madvise(page, 4096, MADV_WIPEONFORK) != 0)
        pthread_atfork(NULL, NULL, forked_without_wipe);
    pa_epoch = page;
    *pa_epoch = r->epoch = 1;
    r->settings = *settings;
    r->walked = settings->stack_depth ? settings->stack_depth : 1;
    pa_identity_fill(&r->who);
    r->who.way = way;
    r->installed = 1;
    return 0;
}

unsigned pa_loss_of(int error)
{
    switch (-error) {
    case ENOSPC: return PA_LOSS_NO_SPACE;
    case EFBIG: return PA_LOSS_FILE_LIMIT;
    case EDQUOT: return PA_LOSS_LIMIT;
    case ENOMEM: return PA_LOSS_NO_MEMORY;
    default: return PA_LOSS_NO_JOURNAL;
    }
}

const char *pa_reason(int error)
{
    switch (-error) {
    case EDQUOT: return "PYTHONAUDIT_MAX_BYTES is reached";
    case EFBIG: return "RLIMIT_FSIZE leaves no room for a segment";
    default: return strerror(-error);
    }
}

void pa_lose(struct pa_segment *segment, unsigned reason)
{
    uint64_t *counters = segment ? segment->header->losses : pa_recorder.losses;
    __atomic_fetch_add(&counters[reason], 1, __ATOMIC_RELAXED);
}

void pa_fail(const struct pa_settings *settings, const char *why)
{
    if (!settings->stop_on_failure)
        return;
    static char line[5000];
    int n = snprintf(line, sizeof line,
                     "pythonaudit: cannot record in %.4000s: %s; stopping, as PYTHONAUDIT_ON_FAILURE=stop asks\n",
                     settings->dir, why);
    if (n > 0 && write(2, line, (size_t)n) < 0)
        _exit(PA_STATUS_STOP);
    _exit(PA_STATUS_STOP);
}

void pa_recorder_touch(void)
{
    __atomic_store_n(pa_epoch, ++pa_recorder.epoch, __ATOMIC_SEQ_CST);
    if (pa_guard_waits())
        __atomic_store_n(pa_epoch, UINT64_MAX, __ATOMIC_RELEASE);
}

/* The memory of the process that forked us is no longer our journal. What threads
 * still hold of it, they drop when they see that their image is another one. */
static void forked(void)
{
    struct pa_recorder *r = &pa_recorder;
    pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    int torn = pthread_mutex_trylock(&r->lock) != 0; /* another thread was inside */
    r->lock = fresh;
    memcpy(r->who.parent, r->who.process, 16);
    pa_identity_fill(&r->who);
    r->who.way = PA_WAY_FORK;
    if (r->segment || !r->parent_header)
        r->parent_header = pa_segments_forget(r->segment);
    r->segment = NULL;
    r->child_told = 0;
    r->image++;
    r->sequence = r->slots = 0;
    r->meta_chunk = NULL;
    r->rest_until = 0;
    r->store_open = 0; /* the user may have changed */
    r->threads = NULL;
    free(r->kept[PA_KEPT_BEGAN].json);
    r->kept[PA_KEPT_BEGAN].json = NULL;
    memset(r->losses, 0, sizeof r->losses);
    if (torn) {
        memset(&r->intern, 0, sizeof r->intern);
        memset(r->names, 0, sizeof r->names);
        r->name_count = 0;
        r->idle = NULL;
        r->store.old = NULL;
    }
    pa_store_forget(&r->store);
    *pa_epoch = ++r->epoch;
}

void pa_recorder_look(void)
{
    if (__atomic_load_n(pa_epoch, __ATOMIC_ACQUIRE) == 0)
        forked();
}

/* Writes an attributes entry, in a chunk of its own kind of use. Under the lock. */
static int write_meta(const uint8_t *json, uint32_t length)
{
    struct pa_recorder *r = &pa_recorder;
    if (!r->meta_chunk || r->meta_entries - r->meta_heap < 32 + length) {
        int error;
        uint32_t size = pa_round_chunk(PA_CHUNK_HEADER_SIZE + 64 + length);
        struct pa_chunk *c = pa_segment_chunk(r->segment, &r->store, PA_CHUNK_EVENTS, size, 0, &error);
        if (!c)
            return error;
        pa_chunk_publish(c);
        r->meta_chunk = (uint8_t *)c;
        r->meta_heap = PA_CHUNK_HEADER_SIZE;
        r->meta_entries = size;
    }
    struct pa_meta *e = (struct pa_meta *)(r->meta_chunk + (r->meta_entries -= 32));
    memcpy(r->meta_chunk + r->meta_heap, json, length);
    e->kind = PA_ENTRY_META;
    e->ticks = pa_ticks();
    e->heap = r->meta_heap;
    e->length = length;
    r->meta_heap += length;
    pa_commit(&e->commit, ((struct pa_chunk *)r->meta_chunk)->generation);
    return 0;
}

/* What the store removed to make room, before it forgets it. */
static void note_evictions(void)
{
    struct pa_recorder *r = &pa_recorder;
    uint64_t *losses = r->segment ? r->segment->header->losses : r->losses;
    if (r->store.evicted)
        __atomic_fetch_add(&losses[PA_LOSS_EVICTED], r->store.evicted, __ATOMIC_RELAXED);
    r->store.evicted = 0;
}

static void leave_segment(struct pa_thread *t)
{
    struct pa_segment *s = t->segment;
    t->segment = NULL;
    t->chunk = NULL;
    if (s) {
        s->writers--;
        pa_segment_release(s, &pa_recorder.store);
    }
}

static int write_attributes(void)
{
    struct pa_recorder *r = &pa_recorder;
    uint8_t *json = malloc(META_ROOM);
    if (!json)
        return -ENOMEM;
    int error = write_meta(json, pa_attributes(json, META_ROOM, &r->settings));
    free(json);
    for (unsigned i = 0; i < PA_KEPT; i++)
        if (!error && r->kept[i].json)
            error = write_meta(r->kept[i].json, r->kept[i].length);
    return error;
}

/* Nothing new is written to earlier segments. Threads that cannot be writing at this moment
 * leave them, so that one which sleeps keeps none: those that have ended, and those of the
 * interpreter whose GIL we hold that are not inside the hook, as we are ourselves. Others have
 * an event half written, perhaps, and leave with their next look at the epoch. */
static void leave_earlier_segments(void)
{
    struct pa_recorder *r = &pa_recorder;
    for (struct pa_thread *t = r->idle; t; t = t->next)
        if (t->image == r->image && t->segment != r->segment)
            leave_segment(t);
#ifndef Py_GIL_DISABLED
    PyInterpreterState *ours = PyThreadState_GetInterpreter(PyThreadState_Get());
    for (struct pa_thread *t = r->threads; t; t = t->another)
        if (t->interp == ours && !t->busy && t->segment != r->segment)
            leave_segment(t);
#endif
}

static void retire(struct pa_segment *old)
{
    struct pa_store *store = &pa_recorder.store;
    old->writers++;             /* so that it goes after the last of them, here */
    pa_segment_close(old, store, PA_STATE_ROTATED);
    leave_earlier_segments();
    old->writers--;
    pa_segment_release(old, store);
}

/* Pages could not be had any more (guard.h). If they were of the current segment, it is left. */
static void leave_lost_pages(void)
{
    struct pa_recorder *r = &pa_recorder;
    struct pa_segment *lost = r->segment;
    if (lost && pa_guard_lost(lost->header)) {
        r->segment = NULL;
        r->meta_chunk = NULL;
        retire(lost);
    }
    pa_recorder_touch();
}

/* A new current segment with the attributes of the process. 0 or -errno; then the
 * one before, if any, stays current. */
static int open_segment(void)
{
    struct pa_recorder *r = &pa_recorder;
    int error = 0;
    struct pa_segment *old = r->segment, *s = NULL;
    r->who.uid = (uint32_t)geteuid();
    r->who.gid = (uint32_t)getegid();
    for (int kept = r->store_open;; kept = 0) { /* a place that was lost is replaced at once */
        if (!r->store_open) {
            pa_store_forget(&r->store);
            const struct pa_settings *wanted = &r->settings;
            error = (wanted->nowhere_else ? pa_store_open_there : pa_store_open)(&r->store, wanted->dir, wanted->max_bytes,
                                                                             wanted->stop_on_full);
        }
        if (error)
            return error;
        r->store_open = 1;
        s = pa_segment_open(&r->store, &r->who, r->sequence, r->start, &error);
        note_evictions();
        if (s)
            break;
        r->store_open = 0;
        if (!kept || error == -ENOSPC || error == -EDQUOT || error == -EFBIG)
            return error;
        error = 0;
    }
    uint8_t *old_meta = r->meta_chunk;
    r->segment = s;
    r->meta_chunk = NULL;
    error = write_attributes();
    if (!error)
        error = pa_intern_reset(&r->intern, s, &r->store);
    if (error) {
        pa_segment_close(s, &r->store, PA_STATE_ROTATED);
        pa_segment_release(s, &r->store);
        r->segment = old;
        r->meta_chunk = old_meta;
        return error;
    }
    r->sequence++;
    r->segments++;
    s->header->canary = r->canary ? PA_CANARY_SEEN : PA_CANARY_NOT_SEEN;
    for (int i = 0; i < PA_LOSS_REASONS; i++)
        s->header->losses[i] += __atomic_exchange_n(&r->losses[i], 0, __ATOMIC_RELAXED);
    pa_recorder_touch();
    if (old)
        retire(old);
    if (r->parent_header) {
        pa_segment_unmap(r->parent_header);
        r->parent_header = NULL;
    }
    return 0;
}

/* open_segment, not again for a while after a failure; 0 or -errno. */
static int open_or_rest(void)
{
    struct pa_recorder *r = &pa_recorder;
    int error = r->rest_error;
    if (!r->rest_until || pa_clock_ns(CLOCK_MONOTONIC_COARSE) >= r->rest_until) {
        error = open_segment();
        r->rest_until = error ? pa_clock_ns(CLOCK_MONOTONIC_COARSE) + PA_REST_NS : 0;
        r->rest_error = error;
    }
    if (!error)
        return 0;
    pa_fail(&r->settings, pa_reason(error));
    if (r->parent_header && !r->child_told) {
        __atomic_fetch_add(&r->parent_header->losses[PA_LOSS_UNRECORDED_CHILD], 1, __ATOMIC_RELAXED);
        r->child_told = 1;
    }
    return error;
}

static struct pa_thread *new_thread(void)
{
    struct pa_recorder *r = &pa_recorder;
    struct pa_thread *t = r->idle;
    if (t)
        r->idle = t->next;
    else if (!(t = calloc(1, sizeof *t)))
        return NULL;
    t->next = NULL;
    t->next_size = CHUNK_FIRST;
    pa_self = t;
    pthread_setspecific(thread_key, t);
    return t;
}

int pa_thread_anchor(struct pa_thread *t)
{
    struct pa_anchor *a = (struct pa_anchor *)(t->chunk + (t->entries -= 32));
    struct pa_instant now = pa_clock_anchor();
    a->kind = PA_ENTRY_ANCHOR;
    a->ticks = now.ticks;
    a->monotonic = now.monotonic;
    a->realtime = now.realtime;
    t->anchor_ticks = now.ticks;
    pa_commit(&a->commit, t->generation);
    if (pa_segment_is_silent(t->segment, now.monotonic))
        return 0;
    pa_segment_beat(t->segment, now);
    return 1;
}

/* Says whose the following entries are, and when. Needs 64 bytes. */
static void write_owner(struct pa_thread *t)
{
    struct pa_owner *o = (struct pa_owner *)(t->chunk + (t->entries -= 32));
    o->kind = PA_ENTRY_OWNER;
    o->slot = t->slot;
    o->tid = t->tid;
    o->interpreter = (uint32_t)t->interpreter;
    o->number = t->number;
    pa_commit(&o->commit, t->generation);
    pa_thread_anchor(t);
    t->context_written = 0;
    t->unnamed = t->tid != pa_recorder.who.pid;
    memset(t->trace_written, 0, sizeof t->trace_written);
    pa_context_compare(t);
    if (t->counts)
        memset(t->counts, 0, PA_EVENT_RULES * sizeof *t->counts);
}

static int was_silent(void)
{
    return pa_segment_is_silent(pa_recorder.segment, pa_clock_ns(CLOCK_MONOTONIC_COARSE));
}

static struct pa_thread *enter_locked(unsigned *ret_reason)
{
    struct pa_recorder *r = &pa_recorder;
    struct pa_thread *t = pa_self;
    int fresh = !t, error;
    if (!t && !(t = new_thread())) {
        *ret_reason = PA_LOSS_NO_MEMORY;
        return NULL;
    }
    if (pa_guard_take())
        leave_lost_pages();
    if (t->image != r->image) { /* of the process that forked us, or never used */
        t->image = r->image;
        t->another = r->threads;
        r->threads = t;
        t->segment = NULL;
        t->chunk = NULL;
        t->next_size = CHUNK_FIRST; /* a child is small again, whatever its parent wrote */
        fresh = 1;
    }
    if (fresh) {
        t->slot = ++r->slots;
        t->tid = (uint32_t)syscall(SYS_gettid);
        t->number = 0;
        t->busy = 0;
    }
    if ((!r->segment || was_silent()) && (error = open_or_rest())) {
        *ret_reason = pa_loss_of(error);
        return NULL;
    }
    if (t->segment != r->segment) {
        leave_segment(t);
        t->segment = r->segment;
        t->segment->writers++;
        memset(t->names, 0, sizeof t->names);
        t->strings = r->segments;
        t->name_id = 0;
        pa_context_forget(t);
    }
    if (t->epoch != r->epoch)
        memset(t->stacks, 0, sizeof t->stacks);
    PyThreadState *state = PyThreadState_Get();
    PyInterpreterState *interp = PyThreadState_GetInterpreter(state);
    uint64_t interpreter = (uint64_t)PyInterpreterState_GetID(interp);
    fresh |= interpreter != t->interpreter;
    t->state = state;
    t->interp = interp;
    struct pa_contexts *contexts = pa_contexts_of(interp);
    if (t->contexts != contexts)
        pa_context_forget(t);
    t->contexts = contexts;
    t->interpreter = interpreter;
    t->interpreters = __atomic_load_n(&r->interpreters, __ATOMIC_RELAXED);
    if (fresh)
        t->name_id = 0;
    if (fresh && t->chunk) {
        if (t->entries - t->heap >= 96)
            write_owner(t);
        else
            t->chunk = NULL;
    }
    t->epoch = r->epoch;
    return t;
}

struct pa_thread *pa_thread_enter(unsigned *ret_reason)
{
    int saved = errno;
    pa_recorder_look();
    pthread_mutex_lock(&pa_recorder.lock);
    struct pa_thread *t = enter_locked(ret_reason);
    pthread_mutex_unlock(&pa_recorder.lock);
    errno = saved;
    return t;
}

/* No space in the segment. The next one if it is full, or if its place is no longer
 * ours to write to (setuid, a directory removed); else a loss and a rest. */
static int no_space(int error)
{
    if (error != -ENOSPC && error != -EDQUOT && error != -ENOMEM) {
        if (error != -EFBIG)
            pa_recorder.store_open = 0;
        error = open_or_rest();
        if (!error)
            return 1;
    }
    pa_fail(&pa_recorder.settings, pa_reason(error));
    pa_lose(pa_recorder.segment, pa_loss_of(error));
    return -1;
}

int pa_definition_failed(struct pa_thread *t)
{
    int saved = errno, result;
    pthread_mutex_lock(&pa_recorder.lock);
    if (t->segment != pa_recorder.segment)
        result = 1;
    else
        result = no_space(pa_recorder.intern.error);
    pthread_mutex_unlock(&pa_recorder.lock);
    errno = saved;
    return result;
}

int pa_thread_chunk(struct pa_thread *t, uint32_t bytes)
{
    struct pa_recorder *r = &pa_recorder;
    int saved = errno, result = 0, error = 0;
    pthread_mutex_lock(&r->lock);
    if (t->segment != r->segment) {
        result = 1;
    } else {
        uint32_t size = pa_round_chunk(PA_CHUNK_HEADER_SIZE + 64 + bytes);
        if (size < t->next_size)
            size = t->next_size;
        struct pa_chunk *c = NULL;
        if (was_silent())
            error = -EFBIG;
        else
            c = pa_segment_chunk(t->segment, &r->store, PA_CHUNK_EVENTS, size, 0, &error);
        if (c) {
            t->chunk = (uint8_t *)c;
            t->generation = c->generation;
            t->heap = PA_CHUNK_HEADER_SIZE;
            t->entries = size;
            write_owner(t);
            pa_chunk_publish(c);
            if (t->next_size < CHUNK_MAX)
                t->next_size *= 2;
        } else {
            result = no_space(error);
        }
        note_evictions();
    }
    pthread_mutex_unlock(&r->lock);
    errno = saved;
    return result;
}

int pa_thread_renew(struct pa_thread *t)
{
    int saved = errno, result;
    pthread_mutex_lock(&pa_recorder.lock);
    t->chunk = NULL;            /* whatever happens, not one more entry goes there */
    result = t->segment == pa_recorder.segment ? no_space(-EFBIG) : 1;
    pthread_mutex_unlock(&pa_recorder.lock);
    errno = saved;
    return result;
}

void pa_recorder_keep(unsigned which, const void *json, uint32_t length)
{
    struct pa_recorder *r = &pa_recorder;
    struct pa_kept *kept = &r->kept[which];
    pa_recorder_look();
    pthread_mutex_lock(&r->lock);
    free(kept->json);
    kept->json = malloc(length);
    kept->length = length;
    if (kept->json) {
        memcpy(kept->json, json, length);
        if (r->segment)
            write_meta(kept->json, length); /* else with the next segment */
    }
    if (r->segment && r->canary)
        r->segment->header->canary = PA_CANARY_SEEN;
    pthread_mutex_unlock(&r->lock);
}

void pa_recorder_proved(void)
{
    struct pa_recorder *r = &pa_recorder;
    pa_recorder_look();
    pthread_mutex_lock(&r->lock);
    r->canary = r->hooked = 1;
    if (r->segment)
        r->segment->header->canary = PA_CANARY_SEEN;
    pthread_mutex_unlock(&r->lock);
}

void pa_recorder_doubt(void)
{
    unsigned ignored;
    pa_thread_enter(&ignored);
    pthread_mutex_lock(&pa_recorder.lock);
    pa_recorder_touch(); /* the next event, if one comes, does not go past pa_recorder_proved */
    pthread_mutex_unlock(&pa_recorder.lock);
}

static int anything_lost(void)
{
    for (int i = 0; i < PA_LOSS_REASONS; i++)
        if (__atomic_load_n(&pa_recorder.losses[i], __ATOMIC_RELAXED))
            return 1;
    return 0;
}

void pa_recorder_end(void)
{
    struct pa_recorder *r = &pa_recorder;
    int saved = errno;
    pthread_mutex_lock(&r->lock);
    pa_guard_begin(pa_epoch); /* nothing may have been recorded so far */
    if (!r->segment && anything_lost())
        open_segment(); /* a last try, without rest: at least what was lost is said */
    if (r->segment) {
        struct pa_segment *s = r->segment;
        for (int i = 0; i < PA_LOSS_REASONS; i++)
            s->header->losses[i] += __atomic_exchange_n(&r->losses[i], 0, __ATOMIC_RELAXED);
        r->segment = NULL;
        r->meta_chunk = NULL;
        pa_recorder_touch();
        pa_segment_close(s, &r->store, PA_STATE_CLEAN_END);
        pa_segments_settle(&r->store);
    }
    r->hooked = 0;
    pa_guard_end();
    pa_frames_end();
    pthread_mutex_unlock(&r->lock);
    errno = saved;
}
