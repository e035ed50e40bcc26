/** Bounds of the student gateway, each with its reason. */

/** A canonical input is at most 256 KiB; as a string inside JSON it may grow sixfold, and rarely does more than double. */
export const maxBodyBytes = 1024 * 1024;
/** Of a body over the limit so much is read and thrown away, because many clients read no answer before they have sent all. */
export const maxDiscardedBytes = 16 * 1024 * 1024;
/** Node's own limit, stated: credentials and trace context take a few hundred bytes. */
export const maxHeaderBytes = 16 * 1024;
/** A client that has not sent its headers by then is stuck or hostile. */
export const headersTimeoutMs = 5_000;
/** The same for the whole request: a megabyte in half a minute is a slow mobile line. */
export const requestTimeoutMs = 30_000;
/** The same where requests pass through, among them files and recordings. */
export const uploadTimeoutMs = 600_000;
/** How often the ones above are looked at. */
export const connectionCheckMs = 1_000;
/** Longer than the idle timeout of the usual load balancers (60 s), so that they close first and no request races it. */
export const keepAliveTimeoutMs = 65_000;
/** Sockets at once: far above a pool of clients, far below what memory and descriptors allow. */
export const maxConnections = 10_000;

/** Of a body that goes to the upstream: the largest file that providers take. It passes in parts and is never held as a whole. */
export const maxPassedBodyBytes = 512 * 1024 * 1024;
/** A connection to the upstream takes a second over the worst line. */
export const upstreamConnectMs = 10_000;
/** Without a byte from the upstream: as long as OpenAI's own clients wait for a reply. */
export const upstreamSilenceMs = 600_000;
/** Idle connections to the upstream are closed after this: a TLS handshake saved is three round trips. */
export const upstreamIdleMs = 30_000;
/** Kept after a burst; each is a descriptor here and there. */
export const maxIdleUpstreamConnections = 256;
/** The list of the upstream's models is read whole; the longest known is a hundredth of it. */
export const maxModelListBytes = 4 * 1024 * 1024;

/** Of a reply that is recorded; a longer one is counted without what it said. Answers of tasks are at most 64 KiB. */
export const maxRecordedReplyBytes = 1024 * 1024;
/** Input and output in one fact: with NATS's limit of 1 MiB a message, room for both as UTF-8 and a prompt beside them. */
export const maxRecordedTextBytes = 128 * 1024;
/** System prompt and schema of a recorded workload: a task that is made of it may have 512 KiB. */
export const maxRecordedPromptBytes = 128 * 1024;
/** Bodies held at once for recording; calls beyond it are counted without content. */
export const maxBytesBeingRecorded = 64 * 1024 * 1024;
/** A workload's prompt is told again after this, in case a fact was lost. */
export const workloadRepeatMs = 60_000;
/** Workloads of which is remembered when they were told; one that is forgotten is told again with its next call. */
export const maxKnownWorkloads = 1_000;

/** Rows of one `/v2/…/infer` request: a batch job sends many requests, so that interactive ones get in between. */
export const maxInferRows = 256;

/** Texts in one call of the session: larger batches gain no more throughput and make those at the front wait. */
export const maxBatchTexts = 32;
/** Requests waiting for one student. At the slowest student worth serving (1 ms a text) that is a wait of two seconds. */
export const maxQueuedTexts = 2_048;
/** What a client is told to wait when the queue is full: it drains in about this time. */
export const overloadRetryAfterMs = 1_000;

/** A student that has not loaded in this time never will. */
export const studentLoadTimeoutMs = 60_000;
/** Pause before a student is started anew after a failed start: doubled each time, up to the second value. */
export const threadRestartFirstMs = 100;
export const threadRestartMaxMs = 10_000;
/** Pause before a deployment that could not be loaded is tried again, doubled each time. */
export const deploymentRetryFirstMs = 1_000;
export const deploymentRetryMaxMs = 60_000;

/** Requests waiting for a turn to ask the teacher; more would wait longer than clients do. */
export const maxQueuedTeacherCalls = 256;
/** What a client is told to wait when the teacher is away, unless the teacher gateway says better. */
export const teacherRetryAfterMs = 5_000;
/** A spent budget does not come back in seconds. */
export const budgetRetryAfterMs = 60_000;

/** Traffic records kept while the bus is slow or away; at 2,000 requests/s these are five seconds, about 10 MB. */
export const maxBufferedRecords = 10_000;
/** The same in bytes of recorded calls. */
export const maxBufferedCallBytes = 64 * 1024 * 1024;
/** Records published at once: enough to hide the round trip. */
export const maxRecordsInFlight = 256;
/** Teacher-answered pairs that wait on disk for the bus; at 1 KiB each, sixty thousand paid answers. */
export const maxSpillBytes = 64 * 1024 * 1024;
/** Pause after the bus refused pairs from disk. */
export const spillRetryMs = 10_000;
/** How long a stopping gateway waits for the bus to take its last records. */
export const trafficFlushMs = 5_000;
/** Dropped records raise one alarm in this time, with their count. */
export const dropAlarmMs = 10_000;

/** Checks of answers under way: they share the teacher with clients, and have the day to be made. */
export const maxAuditsInFlight = 16;
/** Longer than a teacher gateway tries; nobody waits for it. */
export const auditTimeoutMs = 60_000;
/** Between tellings of how sure students were. */
export const confidenceWindowMs = 30_000;
