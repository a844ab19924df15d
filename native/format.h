/* The journal on disk: one segment file.
 *
 * This header is the C statement of docs/format/journal.md, which is normative.
 * It needs <stdint.h> and nothing else; every size and offset is asserted below.
 * All integers are little-endian. Offsets are bytes.
 *
 *   segment := header (4096 bytes) chunk*
 *   chunk   := chunk header (64 bytes)  heap ->   ...free...   <- entries
 *
 * In a chunk the heap grows up from the chunk header and the entries grow down
 * from the end of the chunk: entry i starts at  chunk_size - (i + 1) * entry_size.
 * An entry counts when its commit word equals the generation of its chunk.
 */
#ifndef PA_FORMAT_H
#define PA_FORMAT_H

#include <stdint.h>

#define PA_MAGIC "PYAUDIT\n"        /* segment header, bytes 0..7 */
#define PA_FORMAT_MAJOR 1u
#define PA_HEADER_SIZE 4096u
#define PA_CHUNK_HEADER_SIZE 64u
#define PA_CHUNK_MAGIC 0x4b4e4843u  /* "CHNK" */
#define PA_CHUNK_ALIGN 4096u
#define PA_SEGMENT_MAX (4u << 20)

/* Incompatible flags: a reader that meets one it does not know must refuse the segment. */
#define PA_INCOMPAT_KNOWN 0u
/* Compatible flags: a reader may ignore those that it does not know. */
#define PA_COMPAT_KNOWN 0u

/* segment header, state */
enum {
    PA_STATE_OPEN = 1,
    PA_STATE_ROTATED = 2,
    PA_STATE_CLEAN_END = 3,
    PA_STATE_VOID = 4           /* being made into a later segment: holds nothing */
};

/* segment header, clock: what `ticks` are */
enum { PA_CLOCK_MONOTONIC = 1, PA_CLOCK_TSC = 2, PA_CLOCK_CNTVCT = 3 };

/* segment header, way: how recording began in this process */
enum { PA_WAY_PRELOAD = 1, PA_WAY_SITE = 2, PA_WAY_FORK = 3, PA_WAY_COMMAND = 4, PA_WAY_AGENT = 5 };

/* segment header, canary */
enum { PA_CANARY_NOT_SEEN = 0, PA_CANARY_SEEN = 1 };

/* reasons of loss: indices of pa_header.losses */
enum {
    PA_LOSS_NO_SPACE = 0,       /* the disk, or a quota, is full */
    PA_LOSS_NO_JOURNAL = 1,     /* no segment could be created or opened again */
    PA_LOSS_NO_MEMORY = 2,      /* memory of the recorder itself */
    PA_LOSS_LIMIT = 3,          /* PYTHONAUDIT_MAX_BYTES with ON_FULL=stop */
    PA_LOSS_EVICTED = 4,        /* in segments removed with ON_FULL=oldest */
    PA_LOSS_REENTERED = 5,      /* raised inside the hook itself */
    PA_LOSS_UNRECORDED_CHILD = 6, /* forked children (not events) with no journal */
    PA_LOSS_FILE_LIMIT = 7,     /* RLIMIT_FSIZE leaves no room for a segment */
    PA_LOSS_REASONS = 16        /* slots; those without a name are zero */
};

struct pa_header {
    char magic[8];              /*   0 */
    uint16_t format_major;      /*   8 */
    uint16_t format_minor;      /*  10  changes that old readers can ignore */
    uint32_t header_size;       /*  12  where the first chunk starts */
    uint32_t incompatible;      /*  16 */
    uint32_t compatible;        /*  20 */
    uint8_t process[16];        /*  24  128 random bits: the program image */
    uint8_t parent[16];         /*  40  the process that forked it, or zero */
    uint8_t boot[16];           /*  56  /proc/sys/kernel/random/boot_id */
    uint32_t sequence;          /*  72  0 for the first segment of the process */
    uint32_t state;             /*  76  PA_STATE_* */
    uint32_t pid;               /*  80  in the process's own pid namespace */
    uint32_t ppid;              /*  84 */
    uint64_t pid_start;         /*  88  field 22 of /proc/PID/stat, clock ticks since boot */
    uint64_t pid_namespace;     /*  96  inode of /proc/self/ns/pid */
    uint32_t uid;               /* 104  effective, when the segment was made */
    uint32_t gid;               /* 108 */
    uint32_t clock;             /* 112  PA_CLOCK_* */
    uint32_t way;               /* 116  PA_WAY_* */
    uint64_t ticks_hz;          /* 120  estimated ticks a second */
    uint64_t begin_ticks;       /* 128  anchor of the segment's beginning ... */
    uint64_t begin_monotonic;   /* 136  ... CLOCK_MONOTONIC, ns */
    uint64_t begin_realtime;    /* 144  ... CLOCK_REALTIME, ns since 1970 */
    uint64_t end_ticks;         /* 152  anchor of the end; zero while open */
    uint64_t end_monotonic;     /* 160 */
    uint64_t end_realtime;      /* 168 */
    uint32_t used;              /* 176  bytes handed out to chunks, header included */
    uint32_t canary;            /* 180  PA_CANARY_* */
    uint32_t drained;           /* 184  earlier segments of the process were read out up to here */
    uint32_t pad;               /* 188 */
    uint64_t beat_monotonic;    /* 192  when the process last was known to write here ... */
    uint64_t beat_realtime;     /* 200 */
    uint64_t reserved[6];       /* 208 */
    uint64_t losses[PA_LOSS_REASONS]; /* 256  in this process since the previous segment */
    uint8_t unused[4096 - 384]; /* 384  zero */
};

/* chunk header, kind */
enum {
    PA_CHUNK_EVENTS = 1,        /* entries: struct pa_entry and its other shapes, 32 bytes */
    PA_CHUNK_STRINGS = 2,       /* entries: struct pa_string, 16 bytes */
    PA_CHUNK_CODES = 3,         /* entries: struct pa_code, 16 bytes */
    PA_CHUNK_NODES = 4          /* entries: struct pa_node, 16 bytes */
};

struct pa_chunk {
    uint32_t magic;             /*  0  PA_CHUNK_MAGIC; stored last, with release */
    uint32_t size;              /*  4  whole chunk, a multiple of PA_CHUNK_ALIGN */
    uint32_t generation;        /*  8  never zero: commit word of its entries */
    uint16_t kind;              /* 12  PA_CHUNK_* */
    uint16_t entry_size;        /* 14  16 or 32 */
    uint32_t first_id;          /* 16  definitions: id of entry 0 */
    uint32_t reserved[11];      /* 20 */
};

/* entries of an events chunk */
enum {
    PA_ENTRY_EVENT = 1,
    PA_ENTRY_OWNER = 2,         /* the entries that follow belong to this thread */
    PA_ENTRY_ANCHOR = 3,        /* ticks and clocks, read together */
    PA_ENTRY_COUNT = 4,         /* events counted instead of recorded; grows in place */
    PA_ENTRY_META = 5,          /* JSON object of attributes of the process */
    PA_ENTRY_CONTEXT = 6,       /* the context of the events that follow */
    PA_ENTRY_TRACE = 7,         /* the span of a distributed trace that they are in */
    PA_ENTRY_THREAD = 8         /* the name of their thread */
};

enum { PA_SOURCE_INTERPRETER = 1, PA_SOURCE_STDLIB = 2, PA_SOURCE_APPLICATION = 3 };

/* notes of an event: bits */
enum {
    PA_NOTE_TRUNCATED = 1 << 0,     /* a text, bytes or integer was cut at its limit */
    PA_NOTE_MASKED = 1 << 1,        /* a secret was replaced by *** */
    PA_NOTE_SUMMARISED = 1 << 2,    /* a value was replaced by its length (and hash) */
    PA_NOTE_ITEMS = 1 << 3,         /* items of a container were left out */
    PA_NOTE_DEPTH = 1 << 4,         /* nesting was cut */
    PA_NOTE_RESERVED_NAME = 1 << 5, /* a name of CPython, not raised by CPython */
    PA_NOTE_STACK = 1 << 6,         /* the stack is deeper than what was kept */
    PA_NOTE_NAME = 1 << 7,          /* the event's name was cut or repaired */
    PA_NOTE_NO_STACK = 1 << 8,      /* a stack was wanted and could not be had */
    PA_NOTE_CONTEXT = 1 << 9        /* fields of its context were cut, left out or told by their type */
};

#define PA_NAME_INLINE 0x80000000u  /* pa_entry.name: the low bits are the length */

struct pa_entry {
    uint32_t commit;            /*  0 */
    uint8_t kind;               /*  4  PA_ENTRY_EVENT */
    uint8_t source;             /*  5  PA_SOURCE_* */
    uint16_t notes;             /*  6  PA_NOTE_* */
    uint64_t ticks;             /*  8 */
    uint32_t name;              /* 16  string id, or PA_NAME_INLINE | length */
    uint32_t stack;             /* 20  node id; 0: no stack */
    uint32_t heap;              /* 24  arguments: offset in the chunk; then the inline name */
    uint32_t length;            /* 28  of the arguments: a JSON array, UTF-8 */
};

struct pa_owner {
    uint32_t commit;
    uint8_t kind;               /*  4  PA_ENTRY_OWNER */
    uint8_t pad[3];
    uint32_t slot;              /*  8  thread slot: unique in the process, never used again */
    uint32_t tid;               /* 12  kernel's thread id */
    uint32_t interpreter;       /* 16  PyInterpreterState_GetID */
    uint32_t reserved;
    uint64_t number;            /* 24  number within the thread of the next event */
};

struct pa_anchor {
    uint32_t commit;
    uint8_t kind;               /*  4  PA_ENTRY_ANCHOR */
    uint8_t pad[3];
    uint64_t ticks;             /*  8 */
    uint64_t monotonic;         /* 16  ns */
    uint64_t realtime;          /* 24  ns since 1970 */
};

struct pa_count {
    uint32_t commit;
    uint8_t kind;               /*  4  PA_ENTRY_COUNT */
    uint8_t source;             /*  5 */
    uint16_t pad;
    uint64_t count;             /*  8  grows after the commit */
    uint32_t name;              /* 16  string id */
    uint32_t reserved[3];
};

struct pa_meta {
    uint32_t commit;
    uint8_t kind;               /*  4  PA_ENTRY_META */
    uint8_t pad[3];
    uint64_t ticks;             /*  8 */
    uint32_t reserved[2];
    uint32_t heap;              /* 24  JSON object: offset in the chunk */
    uint32_t length;            /* 28 */
};

struct pa_context_entry {
    uint32_t commit;
    uint8_t kind;               /*  4  PA_ENTRY_CONTEXT */
    uint8_t pad[3];
    uint32_t fields;            /*  8  string id of a JSON object; 0: no context */
    uint32_t reserved[5];
};

struct pa_trace {
    uint32_t commit;
    uint8_t kind;               /*  4  PA_ENTRY_TRACE */
    uint8_t pad[3];
    uint8_t trace[16];          /*  8  big-endian, as W3C Trace Context writes it; zero: no trace */
    uint8_t span[8];            /* 24 */
};

struct pa_thread_entry {
    uint32_t commit;
    uint8_t kind;               /*  4  PA_ENTRY_THREAD */
    uint8_t pad[3];
    uint32_t name;              /*  8  string id */
    uint32_t reserved[5];
};

/* definitions; ids start at 1, 0 is "none" */
struct pa_string {
    uint32_t commit;
    uint32_t heap;              /*  4  UTF-8: offset in the chunk */
    uint32_t length;            /*  8 */
    uint32_t flags;             /* 12  reserved, zero */
};

#define PA_CODE_STDLIB (1u << 31)   /* pa_code.line: the code is of the standard library */

struct pa_code {
    uint32_t commit;
    uint32_t file;              /*  4  string id */
    uint32_t function;          /*  8  string id: co_qualname (3.10: co_name) */
    uint32_t line;              /* 12  first line, | PA_CODE_STDLIB */
};

struct pa_node {
    uint32_t commit;
    uint32_t parent;            /*  4  node id of the caller; 0: outermost kept */
    uint32_t code;              /*  8  code id */
    uint32_t line;              /* 12  0: unknown */
};

_Static_assert(sizeof(struct pa_header) == PA_HEADER_SIZE, "header");
_Static_assert(__builtin_offsetof(struct pa_header, losses) == 256, "losses");
_Static_assert(__builtin_offsetof(struct pa_header, used) == 176, "used");
_Static_assert(__builtin_offsetof(struct pa_header, beat_monotonic) == 192, "beat");
_Static_assert(__builtin_offsetof(struct pa_header, state) == 76, "state");
_Static_assert(sizeof(struct pa_chunk) == PA_CHUNK_HEADER_SIZE, "chunk header");
_Static_assert(sizeof(struct pa_entry) == 32 && sizeof(struct pa_owner) == 32 &&
               sizeof(struct pa_anchor) == 32 && sizeof(struct pa_count) == 32 &&
               sizeof(struct pa_meta) == 32 && sizeof(struct pa_context_entry) == 32 &&
               sizeof(struct pa_trace) == 32 && sizeof(struct pa_thread_entry) == 32, "entries");
_Static_assert(sizeof(struct pa_string) == 16 && sizeof(struct pa_code) == 16 &&
               sizeof(struct pa_node) == 16, "definitions");

#endif
