/* Every limit of the system, in one place, with its reason. A peer, a file or a user never makes us
 * go beyond them. Sizes end in _BYTES_MAX, counts in _COUNT_MAX, times in _MS. */
#ifndef COMMON_LIMITS_H
#define COMMON_LIMITS_H

#include <assert.h>
#include <stdint.h>

enum {
    /* Versions: refuse newer than ours with ERR_VERSION. */
    TRIREME_DISK_FORMAT = 1, /* every on-disk structure; docs/formats.md */
    TRIREME_WIRE_VERSION = 2,
    TRIREME_ABI = 1, /* struct of functions handed to a job's shared object */

    /* Names. */
    LIMIT_NAME_BYTES_MAX = 255,  /* one path component */
    LIMIT_PATH_BYTES_MAX = 4096, /* a whole path */
    LIMIT_DEPTH_MAX = 256,       /* components of a path; bounds every recursion over the tree */
    LIMIT_HOST_BYTES_MAX = 255,  /* host, rack and user names */
    LIMIT_ADDRESS_BYTES_MAX = 300,

    /* Compressed input: what a stream may make us keep. zstd -19 --long=27 needs as much. */
    INFLATE_WINDOW_LOG_MAX = 27,

    /* Chunks. */
    CHUNK_BLOCK_BYTES = 64 * 1024, /* one CRC32C each; GFS 5.2 */
    CHUNK_BYTES_MIN = 1024 * 1024,
    CHUNK_BYTES_DEFAULT = 64 * 1024 * 1024,
    CHUNK_BYTES_MAX = 1024 * 1024 * 1024,
    CHUNK_REPLICAS_MAX = 16,
    CHUNK_REPLICAS_DEFAULT = 3,
    CHUNK_WRITE_REPLICAS_MIN = 2,
    CHUNK_INLINE_BYTES_MAX = CHUNK_BLOCK_BYTES, /* smaller chunks live in a chunkserver's index */
    INDEX_SYNC_COUNT_MAX = 1 << 20, /* syncs asked for at a time; calls and streams bound it */
    CHUNK_INLINE_WRITES_MAX = 4,    /* an inlined chunk that is saved more often moves to a file */
    CHUNK_RESERVE_BYTES = 16 * 1024 * 1024,        /* of disk, ahead of the writer */
    CHUNK_WRITEBACK_BYTES = 8 * 1024 * 1024,       /* write-back is started in such steps */
    CHUNK_DISK_FREE_BYTES_MIN = 256 * 1024 * 1024, /* left for the index when chunks fill a disk */
    DISK_COUNT_MAX = 64,                           /* data directories of one chunkserver */
    FENCED_COUNT_MAX = 64 * 1024,          /* fenced chunks that it remembers without having them */
    APPEND_WINDOW_BYTES = 8 * 1024 * 1024, /* received by a stream, not yet written */
    DATA_MESSAGE_BYTES_MAX = 1024 * 1024,  /* of payload; ends at a block boundary unless last */

    SERVER_JOB_COUNT_MAX = 65536, /* worker jobs of one daemon; calls and streams bound them */

    /* RPC. */
    RPC_MESSAGE_BYTES_MAX = 4 * 1024 * 1024, /* any message on a control channel */
    RPC_BULK_MESSAGE_BYTES_MAX = DATA_MESSAGE_BYTES_MAX + 64 * 1024,
    RPC_ERROR_TEXT_BYTES_MAX = 1024,
    RPC_RAFT_MESSAGE_BYTES_MAX = 9 * 1024 * 1024,  /* one log entry and its envelope */
    RPC_UNPACK_BYTES_MAX = 32 * 1024 * 1024,       /* memory of one unpacked message */
    RPC_DATA_HEADER_BYTES_MAX = 64 * 1024,         /* field 1 of a data message */
    RPC_STREAM_QUEUE_BYTES_MAX = 16 * 1024 * 1024, /* written, not yet taken by the connection */
    RPC_STREAM_WRITABLE_BYTES = 2 * 1024 * 1024,   /* one message on the wire, one behind it */
    RPC_SERVER_CALL_COUNT_MAX = 4096,              /* unary calls in progress */
    RPC_SERVER_STREAM_COUNT_MAX = 4096,            /* streams in progress */
    RPC_SERVER_LOOP_COUNT_MAX = 16,
    RPC_LISTEN_COUNT_MAX = 8,
    RPC_POOL_CHANNEL_COUNT_MAX = 4096,       /* 1,000 machines in each class */
    RPC_CONNECTION_STREAM_COUNT_MAX = 1024,  /* calls on one connection; more wait in the client */
    RPC_METADATA_BYTES_MAX = 16 * 1024,      /* headers of one call */
    RPC_QUOTA_BYTES = 1024 * 1024 * 1024,    /* gRPC's own buffers, of each side of a process */
    RPC_CONNECT_MS = 2 * 1000,               /* one attempt, handshake included */
    RPC_BACKOFF_MS_MIN = 50,                 /* between attempts */
    RPC_BACKOFF_MS_MAX = 500,                /* gRPC's own grows to two minutes */
    RPC_KEEPALIVE_MS = 2 * 1000,             /* a client with calls pings so often ... */
    RPC_KEEPALIVE_TIMEOUT_MS = 3 * 1000,     /* ... and gives the connection up after so long */
    RPC_SERVER_KEEPALIVE_MS = 20 * 1000,     /* finds dead clients, patient with stopped ones */
    RPC_HANDSHAKE_MS = 5 * 1000,             /* a connection that does not speak is closed */
    RPC_CONNECTION_IDLE_MS = 10 * 60 * 1000, /* a connection without calls is closed */

    /* Namespace. */
    NAMESPACE_LIST_COUNT_MAX = 1000,   /* entries of one page */
    NAMESPACE_LOCATE_COUNT_MAX = 1024, /* extents of one reply */
    NAMESPACE_BATCH_COUNT_MAX = 1024,  /* operations in one request */
    NAMESPACE_REAP_COUNT_MAX = 1000,   /* inodes removed by one background step */
    NAMESPACE_INLINE_COUNT_MAX = 8,    /* rows that a command removes at once, without the queue */
    NAMESPACE_TICK_COUNT_MAX = 64,     /* sessions that one Tick looks at */
    NAMESPACE_FENCE_COUNT_MAX = 65536, /* named fences; they are never removed */
    NAMESPACE_SERVER_COUNT_MAX = 65536,
    NAMESPACE_PRECONDITION_COUNT_MAX = 16, /* of one operation */
    XATTR_COUNT_MAX = 32,                  /* extended attributes of one inode; as Hadoop's */
    XATTR_VALUE_BYTES_MAX = 16 * 1024,
    CALLER_GROUP_COUNT_MAX = 64,
    SESSION_WINDOW_COUNT_MAX = 256,      /* replies kept per session */
    CLIENT_BATCH_COUNT_MAX = 64,         /* operations that libdfs puts into one message */
    SESSION_COUNT_MAX = 4 * 1024 * 1024, /* open sessions; beyond it new ones get ERR_BUSY */

    /* Times. */
    HEARTBEAT_MS = 1000,
    SERVER_DEAD_MS = 10 * 1000,       /* no heartbeat for so long: its copies count as lost */
    MASTERS_SILENT_MS = 10 * 1000,    /* the other end of that: no file master has answered */
    LEASE_SOFT_MS = 60 * 1000,        /* a writer's lease without renewal */
    SESSION_LIFE_MS = 10 * 60 * 1000, /* of cluster time, without a request */
    TRASH_KEEP_MS = 24 * 3600 * 1000, /* what rm removes is kept so long at least, unless said */
    TRASH_LOOK_MS = 60 * 1000,        /* between two looks of the leader at all trashes ... */
    TRASH_PAGE_MS = 1000,             /* ... of which each takes pages so far apart ... */
    TRASH_USER_COUNT = 256,           /* ... of so many users ... */
    TRASH_DUE_COUNT_MAX = 64,         /* ... or so much that is due */
    CLIENT_RETRY_MS = 2 * 60 * 1000,  /* after that a client gives up; well below SESSION_LIFE_MS */
    CLIENT_SENT_MS = SESSION_LIFE_MS / 2, /* nor is a change that was sent repeated after that */
    HOP_SILENT_MS = 5 * 1000,        /* a hop that owes acks and says nothing is named upstream */
    APPEND_TICK_MS = 250,            /* how often a stream looks at its clocks */
    APPEND_ALIVE_MS = 1000,          /* a hop that owes acks repeats its last one so often */
    APPEND_STALL_MS = 2 * 1000,      /* ticks this far apart: we were stopped, blame nobody */
    APPEND_DISK_HUNG_MS = 30 * 1000, /* own work without progress: the disk is named */
    CHUNK_SET_ASIDE_MS = 7 * 24 * 3600 * 1000, /* what a seal cut from a replica of unknown worth */
    DRAIN_MS = 10 * 1000, /* a daemon told to end waits so long for what is in progress */
    DRAIN_CHECK_MS = 20,
    TRASH_CHECK_MS = 5 * 1000,
    TRASH_ROUND_COUNT_MAX = 1000,         /* files that go in one round */
    SCRUB_STEP_BLOCKS = 16,               /* blocks between two waits of the scrubber */
    SCRUB_ROUND_MS = 1000,                /* between two rounds, so that an empty server rests */
    LOCAL_CLIENT_COUNT_MAX = 256,         /* connections of local readers; others use Read */
    LOCAL_SEND_BUFFER_BYTES = 256 * 1024, /* holds the reply for a chunk of CHUNK_BYTES_MAX */
    REPORT_BACKLOG_COUNT_MAX =
        100 * 1000,                  /* changes kept for an absent master, then all is reported */
    REPORT_DELTA_MS = 50,            /* a change is reported after this, with others */
    REPORT_CALL_MS = 5 * 1000,       /* a call to a file master is given up after this */
    REPORT_RETRY_MS = 200,           /* after one failed */
    READ_WAIT_MS = 200,              /* for a watermark that the reader has seen */
    CHUNK_TRASH_MS = 10 * 60 * 1000, /* deleted chunk files wait aside */

    /* Configuration file and HTTP page. */
    CONFIG_LINE_BYTES_MAX = 8 * 1024,    /* a list of a thousand masters would still fit */
    CONFIG_FILE_BYTES_MAX = 1024 * 1024, /* anything larger is not a configuration file */
    HTTP_CONNECTION_COUNT_MAX = 64,      /* scrapers and people, not load */
    HTTP_IDLE_SECONDS = 15,
    OWNER_REPORT_MS = 1000,    /* an owner thread tells /healthz and /varz how it is so often ... */
    OWNER_HUNG_MS = 10 * 1000, /* ... and hangs after so long without: it never blocks like that */

    /* MapReduce jobs: what one submission may ask for. */
    JOB_INPUT_COUNT_MAX = 10000,   /* paths given; each may be a directory */
    JOB_FILE_COUNT_MAX = 1000,     /* side files */
    JOB_SETTING_COUNT_MAX = 10000, /* each of -D and --cmdenv */
    JOB_REDUCE_COUNT_MAX = 100000,
    JOB_MAP_COUNT_MAX = 1000000, /* more input means larger splits */
    JOB_COUNTER_COUNT_MAX = 10000,
    JOB_COUNT_MAX = 1000,                             /* not ended, at one time */
    JOB_RECORD_BYTES_MAX = RPC_MESSAGE_BYTES_MAX / 2, /* a submission, as it is kept */
    JOB_SMALL_BYTES_MAX = 64 * 1024, /* of a job's files together that travel in its record */
    WORKER_SLOT_COUNT_MAX = 1024,

    /* A task process. */
    TASK_BEAT_MS = 200,             /* progress is told so often at most */
    TASK_FETCH_COUNT = 4,           /* segments fetched at a time, by one reduce */
    TASK_FETCH_TRIES = 3,           /* then the map output counts as lost */
    TASK_FETCH_RETRY_MS = 500,      /* before the second try; each later one waits 4 times longer */
    TASK_FETCH_IDLE_MS = 30 * 1000, /* a fetch without a byte for so long has failed */

    /* Care of the file master for chunks. */
    REPAIR_COUNT_MAX = 64,           /* copies in flight in the whole cluster, from one master */
    REPAIR_SERVER_COUNT_MAX = 4,     /* of them to, and from, one server: clients go on */
    REPAIR_RETRY_MS_MIN = 500,       /* first delay of a chunk that cannot be helped now ... */
    REPAIR_RETRY_MS_MAX = 30 * 1000, /* ... which doubles up to this */
    REPAIR_BUSY_MS = 100,            /* a chunk whose servers copy enough already is seen again */
    REPAIR_LOOK_COUNT_MAX = 4096,    /* chunks looked at in one round: a few ms of the owner */
    REPAIR_BUSY_COUNT_MAX = 64,      /* a round that found so many busy servers is over */
    REPAIR_COPY_MS = 5 * 60 * 1000,  /* a copy of 1 GiB at 4 MB/s; then it counts as failed */
    BALANCE_COUNT_MAX = 16,          /* chunks on their way from full servers to empty ones */
    BALANCE_IDLE_MS = 10 * 1000,     /* balancing ends when nobody has asked for it for so long */
    MAINTENANCE_MS_MAX = 30U * 24 * 3600 * 1000, /* of a chunkserver, before it counts as lost */
    DELETE_BATCH_COUNT_MAX = 1000,               /* replicas in one DeleteChunks call */
    RECOVERY_PATIENCE_MS = 1500,   /* a clean answer waits so long for those of the others */
    RECOVERY_RETRY_MS = 1000,      /* a server that was not reached is asked again */
    RECOVERY_FENCE_MS = 10 * 1000, /* one Fence call: it drains writes and makes files durable */
    RECOVERY_WAIT_MS = 15 * 1000,  /* a client that asked for a recovery is told why it waits */
    ALLOCATE_WAIT_MS = 3 * 1000,   /* an allocation waits so long for enough servers */
    LEASE_RETRY_MS = 5 * 1000,     /* a lease whose end failed is ended again */
    REPORT_PAGE_COUNT_MAX = 10000, /* replicas in one page of a full report, or one heartbeat */

    /* Raft between file masters. */
    RAFT_LANE_BYTES_MAX = 12 * 1024 * 1024,   /* to one peer, not yet taken by the connection */
    RAFT_READ_LATER_MS = 2,                   /* a message may wait so long for an answer's way */
    RAFT_REOPEN_MS_MIN = 20,                  /* back-off of a stream that ended ... */
    RAFT_REOPEN_MS_MAX = 500,                 /* ... doubles up to this */
    RAFT_CACHE_BYTES_MAX = 16 * 1024 * 1024,  /* of the newest entries, kept in memory for peers */
    RAFT_KEEP_BYTES_MAX = 1024 * 1024 * 1024, /* of log kept for a peer that is behind */
    RAFT_STRANGER_MS = 60 * 1000, /* silence after which one that is no member is forgotten */
    RAFT_PEER_COUNT_MAX = 64,     /* members and strangers */
    RAFT_FORM_ASK_MS = 30,        /* peers are asked who they are so often */
    RAFT_FORM_TELL_MS = 5 * 1000, /* and people are told why it takes so long */
    RAFT_IDENTIFY_MS = 1000,      /* and have so long to answer */
    STALENESS_ASK_MS = 1000,      /* the leader has so long to say how far the log is committed */
    STALENESS_WAIT_MS = 3 * 1000, /* a read that allows some age waits so long to be young enough */
    STALENESS_IDLE_MS = 5 * 1000, /* it is asked so often while nobody reads */
    RAFT_HAND_OVER_MS = 1000,     /* a leader that ends waits so long for its successor */
    RAFT_CHANGE_MS = 20 * 1000,   /* an operator's change of members is given up after this */
    RAFT_SPACE_MIN_BYTES = 192 * 1024 * 1024, /* less free on the log's disk: no new entries */

    SNAPSHOT_HEADER_BYTES_MAX = 16 * 1024 * 1024, /* names of some hundred thousand files */
    SNAPSHOT_HEARD_MS = 2 * 1000, /* one is made for a member that has answered within this */
    BACKUP_PIECE_BYTES = 1024 * 1024,
    BACKUP_IDLE_MS = 60 * 1000,   /* a backup that nobody reads any more is let go after this */
    SNAPSHOT_IDLE_MS = 60 * 1000, /* one that nobody asks for any more is let go after this */

    /* Raft log. */
    LOG_ENTRY_BYTES_MAX = 8 * 1024 * 1024,
    LOG_SEGMENT_BYTES = 64 * 1024 * 1024,
    LOG_BATCH_BYTES_MAX = 16 * 1024 * 1024, /* a longer append is cut into batches of about that */
    LOG_ZERO_BYTES = 1024 * 1024,           /* zeroed ahead, once a MiB a sync pays for it */
    LOG_PERSIST_BYTES = 16 * 1024 * 1024,   /* applied between two flushes of the state: a start
                                               after a crash replays about that */
    LOG_SPARE_COUNT_MAX = 2,                /* dropped segments kept for reuse */
    LOG_IDLE_MS = 1000,                     /* then an empty batch vouches for the last one */

    /* Raft. The first ones are defaults of struct raft_options. */
    RAFT_HEARTBEAT_MS = 50,
    RAFT_ELECTION_MS = 300, /* a leader that is gone is replaced within about twice that */
    RAFT_DISK_HUNG_MS = 2 * 1000,
    RAFT_APPEND_BYTES = 256 * 1024, /* and 64 of them under way to each peer: 16 MiB */
    RAFT_INFLIGHT_COUNT = 64,
    RAFT_PIECE_BYTES = 512 * 1024,
    RAFT_UNCOMMITTED_BYTES = 64 * 1024 * 1024,
    RAFT_INFLIGHT_COUNT_MAX = 256,
    RAFT_APPEND_COUNT_MAX = 4096, /* entries in one message or proposal */
    RAFT_PIECE_BYTES_MAX = 4 * 1024 * 1024,
    RAFT_PIECE_RETRY_MS = 1000, /* a piece of a snapshot without an answer is sent again */

    /* MapReduce engine. */
    MR_REDUCES_MAX = 65536,                  /* partitions of one map output; its index is in RAM */
    MR_RECORD_BYTES_MAX = 256 * 1024 * 1024, /* key and value together; one is held in RAM whole */
    MR_BLOCK_BYTES = 128 * 1024,             /* of map output: one CRC32C; one per merged run */
    MR_INPUT_BUFFER_BYTES = 256 * 1024,      /* one read of input: stays in the L2 cache */
    MR_BATCH_COUNT_MAX = 1024,               /* records handed to a job at a time */
    MR_FAN_IN_MAX = 64,                      /* runs merged at a time: 64 blocks fit in the cache */
    MR_COUNTERS_MAX = 1000,                  /* a job's own counters */
    MR_COUNTER_NAME_BYTES_MAX = 255,         /* group or name; longer ones are cut */
    MR_STATUS_BYTES_MAX = 255,
    MR_STDERR_LINE_BYTES_MAX = 16 * 1024, /* longer lines of a user's program are cut in pieces */
    MR_STDERR_TAIL_BYTES = 4 * 1024,      /* last lines kept for the failure report */
    MR_SETTINGS_BYTES_MAX = 4 * 1024 * 1024,    /* all of a job's settings */
    MR_ENVIRONMENT_VALUE_BYTES_MAX = 32 * 1024, /* longer settings do not go to programs */
    MR_NAMED_OUTPUTS_MAX = 32,                  /* of a job: each open one has 1 MiB and a stream */
    MR_OUTPUT_NAME_BYTES_MAX = 64,
    MR_SKIPS_MAX = 10000,           /* bad records that a task may leave out */
    MR_CAREFUL_RECORDS = 4096,      /* of a program's input that one process gets then ... */
    MR_CAREFUL_BYTES = 1024 * 1024, /* ... and bytes, unless one record is longer */
    MR_CAREFUL_GROUP_BYTES_MAX = 64 * 1024 * 1024,   /* of one key's lines, held in RAM */
    MR_CAREFUL_PRINTED_BYTES_MAX = 64 * 1024 * 1024, /* what several records made, likewise */
    MR_SAMPLE_KEYS_MAX = 65536, /* to find the ranges of a totally ordered job */
};

#define SNAPSHOT_BYTES_MAX (UINT64_C(1) << 50)   /* of a file master's state */
#define QUOTA_VALUE_MAX    ((uint64_t)INT64_MAX) /* names or bytes; as Hadoop's */

static_assert(CLIENT_RETRY_MS <= CLIENT_SENT_MS,
              "a client must give up before its session is forgotten");
static_assert(CLIENT_BATCH_COUNT_MAX <= NAMESPACE_BATCH_COUNT_MAX &&
                  CLIENT_BATCH_COUNT_MAX <= SESSION_WINDOW_COUNT_MAX,
              "a session has room for a message");
static_assert(OWNER_HUNG_MS >= 5 * OWNER_REPORT_MS, "a busy owner does not hang");
static_assert(MASTERS_SILENT_MS > HEARTBEAT_MS + REPORT_CALL_MS + REPORT_RETRY_MS,
              "one call without an answer is no trouble");
static_assert(3 * APPEND_ALIVE_MS < HOP_SILENT_MS, "two lost signs of life name nobody");
static_assert(APPEND_TICK_MS < APPEND_ALIVE_MS, "signs of life go out at ticks");
static_assert(CHUNK_BYTES_MIN % CHUNK_BLOCK_BYTES == 0, "chunks are whole blocks");
static_assert(RPC_RAFT_MESSAGE_BYTES_MAX > LOG_ENTRY_BYTES_MAX, "an entry fits into a message");
static_assert(RAFT_LANE_BYTES_MAX < RPC_STREAM_QUEUE_BYTES_MAX, "the lane is full first");
static_assert(RPC_STREAM_WRITABLE_BYTES + RPC_RAFT_MESSAGE_BYTES_MAX <= RPC_STREAM_QUEUE_BYTES_MAX,
              "a sender that heeds rpc_stream_writable() never meets ERR_BUSY");
static_assert(DATA_MESSAGE_BYTES_MAX % CHUNK_BLOCK_BYTES == 0,
              "messages break at block boundaries");

#endif
