/* nightingale-guard: answers the kernel's questions about the datasets' file systems and writes down every read.
 *
 *   nightingale-guard EVENTS_FD SPOOL_FD PARENT_PID MOST_SEGMENTS
 *
 *   EVENTS_FD      a fanotify group of class PRE_CONTENT with a mark on each file system. Others hold duplicates of it, so
 *                  that readers wait, and are not let through, when this program dies.
 *   SPOOL_FD       the folder of segments NNNNNNNNNN.reads. A record lies in it before its reader goes on; when
 *                  MOST_SEGMENTS lie there, or the disk is full, readers wait until the shipper has taken some away.
 *   PARENT_PID     whoever started it: without that process it ends at once, or two guards would answer.
 *
 * It allows every read: refusing is the mount's and the sandbox's business. It is in C because a reader stands still
 * until it has answered. Ends on SIGTERM once no question is left. Questions that an earlier guard took and did not
 * answer are refused by the next: nobody knows whether they were written down.
 *
 * A frame is `struct frame`, then its ranges (offset and length, 8 bytes each), then for OPENED the path of the reader's
 * program, to `size` bytes in all. Native byte order: it is read on the machine that wrote it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Newer than the headers of Debian 12: Linux 6.14, 6.14, 5.19, 6.0. */
#ifndef FAN_PRE_ACCESS
#define FAN_PRE_ACCESS 0x00100000
#endif
#define INFO_TYPE_RANGE 6
#ifndef FAN_MARK_EVICTABLE
#define FAN_MARK_EVICTABLE 0x00000200
#endif
#ifndef FAN_MARK_IGNORE_SURV
#define FAN_MARK_IGNORE_SURV (0x00000400 | FAN_MARK_IGNORED_SURV_MODIFY)
#endif

struct range_info {
	struct fanotify_event_info_header header;
	uint32_t pad;
	uint64_t offset;
	uint64_t count;
};

enum { OPENED = 'O', READ = 'R', CLOSED = 'C', STARTED = 'S' };

/* How exact the ranges are, and whose descriptor it was. */
enum { WHOLE_FILE = 1, INHERITED = 2, GUARD_ENDED = 4 };

struct range {
	uint64_t offset, length;
};

struct frame {
	uint32_t size;
	uint8_t kind, flags;
	uint16_t ranges;
	uint64_t open_id, device, inode;
	int64_t at_ns; /* of CLOCK_REALTIME */
	int32_t pid;
	uint32_t uid;
	uint64_t start_ticks; /* with the pid it names a process for good */
	uint64_t file_size;
};

#define MOST_EVENTS 256		/* on one open; then the file counts as read whole */
#define SMALL_FILE (64 * 1024)	/* read whole when it is opened: one question an open */
#define SEGMENT_BYTES (4 << 20)
#define MOST_OPENS 65536	/* kept at once; the oldest gives way */
#define BUCKETS 65536
#define MOST_DESCRIPTORS 1024	/* of a guard: some of its own, and of one batch of events at most 341 */

struct open_file {
	struct open_file *next_of_file, *next_dirty, *older, *newer;
	struct file *file;
	uint64_t id;
	int32_t pid;
	uint32_t uid;
	uint64_t start_ticks;
	uint16_t events, ranges, room;
	uint8_t flags;
	bool is_dirty;
	struct range *range;
};

struct file {
	struct file *next;
	struct open_file *opens;
	uint64_t device, inode, size;
	uint32_t open_count;
	bool is_ignored;
};

static int events_fd, spool_fd, segment_fd = -1;
static unsigned most_segments, segment_number;
static size_t segment_bytes;
static struct file *buckets[BUCKETS];
static struct open_file *oldest, *newest, *dirty, *spare_opens;
static struct file *spare_files;
static unsigned opens_kept;
static uint64_t next_id = 1;
static uint8_t out[1 << 18];
static size_t out_used;
static volatile sig_atomic_t is_told_to_end, is_tick;

static void on_signal(int number)
{
	if (number == SIGTERM)
		is_told_to_end = 1;
	else
		is_tick = 1;
}

static void fail(const char *what)
{
	dprintf(2, "nightingale-guard: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t monotonic_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* --- the spool ---------------------------------------------------------------------------------------------------- */

static void rest(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000 * 1000 }, NULL);
}

/* Returns how many segments lie in the spool; the greatest number is left in segment_number. */
static unsigned count_segments(void)
{
	unsigned count = 0, number;
	int copy = openat(spool_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	if (!folder)
		fail("the spool cannot be listed");
	while ((entry = readdir(folder)))
		if (sscanf(entry->d_name, "%10u.reads", &number) == 1) {
			count++;
			if (number > segment_number)
				segment_number = number;
		}
	closedir(folder);
	return count;
}

static void begin_segment(void)
{
	char name[32];
	if (segment_fd >= 0)
		close(segment_fd);
	while (count_segments() >= most_segments)
		rest();
	snprintf(name, sizeof name, "%010u.reads", ++segment_number);
	for (;;) {
		segment_fd = openat(spool_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (segment_fd >= 0)
			break;
		if (errno != ENOSPC && errno != EDQUOT)
			fail("the spool cannot be written");
		rest();
	}
	segment_bytes = 0;
}

/* Returns when every frame so far lies in the spool. */
static void flush_frames(void)
{
	size_t written = 0;
	if (!out_used)
		return;
	if (segment_bytes >= SEGMENT_BYTES)
		begin_segment();
	while (written < out_used) {
		ssize_t count = write(segment_fd, out + written, out_used - written);
		if (count >= 0)
			written += count;
		else if (errno == ENOSPC || errno == EDQUOT)
			rest();
		else if (errno != EINTR)
			fail("the spool cannot be written");
	}
	segment_bytes += out_used;
	out_used = 0;
}

static void add_frame(uint8_t kind, const struct open_file *open, uint16_t ranges, const char *program, size_t length)
{
	struct frame frame = {
		.size = sizeof frame + ranges * sizeof(struct range) + length,
		.kind = kind,
		.flags = open->flags,
		.ranges = ranges,
		.open_id = open->id,
		.device = open->file->device,
		.inode = open->file->inode,
		.at_ns = now_ns(),
		.pid = open->pid,
		.uid = open->uid,
		.start_ticks = open->start_ticks,
		.file_size = open->file->size,
	};
	if (out_used + frame.size > sizeof out)
		flush_frames();
	memcpy(out + out_used, &frame, sizeof frame);
	out_used += sizeof frame;
	memcpy(out + out_used, open->range, ranges * sizeof(struct range));
	out_used += ranges * sizeof(struct range);
	memcpy(out + out_used, program, length);
	out_used += length;
}

/* --- who reads ---------------------------------------------------------------------------------------------------- */

struct process {
	int32_t pid;
	uint32_t uid;
	uint64_t start_ticks;
	int64_t seen_ns;
	size_t length;
	char program[1024]; /* its path, of so many bytes */
};

static _Atomic pid_t looking_after; /* the thread that does, see below */

/* Answers on the CPU of the reader, which sleeps meanwhile: waking another CPU costs several times the answer. The second
 * thread comes along: a CPU that woke for it alone would take the reader over before it sleeps again. */
static void follow(int cpu)
{
	static int at = -1;
	cpu_set_t only;
	if (cpu == at || cpu < 0 || cpu >= CPU_SETSIZE)
		return;
	CPU_ZERO(&only);
	CPU_SET(cpu, &only);
	if (sched_setaffinity(0, sizeof only, &only) == 0)
		at = cpu;
	if (looking_after)
		sched_setaffinity(looking_after, sizeof only, &only);
}

/* Returns the process of a pid that stands still or has just ended. Looked at anew after some hundredths of a second:
 * finding its program's path each time was a fifth of an answer. A program that took another's place shows that late. */
static const struct process *process_of(int32_t pid)
{
	static struct process seen[256];
	struct process *known = &seen[(uint32_t)pid % 256];
	int64_t now = now_ns();
	char path[32], text[512], *at;
	struct stat status;
	ssize_t length;
	int fd;
	if (known->pid == pid && now - known->seen_ns < 20 * 1000 * 1000 && now >= known->seen_ns)
		return known;
	known->pid = pid, known->uid = UINT32_MAX, known->seen_ns = now, known->start_ticks = known->length = 0;
	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	length = readlink(path, known->program, sizeof known->program);
	known->length = length < 0 ? 0 : length;
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return known;
	if (fstat(fd, &status) == 0)
		known->uid = status.st_uid;
	length = read(fd, text, sizeof text - 1);
	close(fd);
	if (length <= 0)
		return known;
	text[length] = 0;
	at = strrchr(text, ')'); /* a program's name may hold anything, also a parenthesis */
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at)
		known->start_ticks = strtoull(at + 1, NULL, 10);
	for (int field = 22; at && field < 39; field++)
		at = strchr(at + 1, ' ');
	if (at)
		follow(atoi(at + 1));
	return known;
}

/* --- one reader in a hurry ---------------------------------------------------------------------------------------- */

/* An answer wakes the reader, and the kernel wakes it on another CPU when one sleeps, because on its own CPU the guard
 * still runs. Waking a CPU costs more than all the rest of an answer. A CPU that runs nothing but SCHED_IDLE counts as
 * free: while one process alone asks quickly, the guard has that policy, so that the reader goes on where it stood, at
 * once. Any other program on that CPU then goes before the guard, so a second thread, of ordinary policy, looks every few
 * milliseconds and gives the guard its policy back when it got little done. */

#define QUICK_QUESTIONS 32
#define QUICK_NS (8 * 1000 * 1000)	/* so many questions within this time: a reader in a hurry */
#define LOOK_NS (4 * 1000 * 1000)	/* between two looks at a guard that gives way */
#define FEW_ANSWERS 4			/* between two looks: too few */
#define STARVED_NS (200 * 1000 * 1000)	/* after it was starved the guard does not give way for so long */

enum { ORDINARY, CHANGING, GIVES_WAY };

static _Atomic int manner = ORDINARY;
static _Atomic bool may_give_way, is_at_work;
static _Atomic unsigned answers;
static _Atomic int64_t not_before_ns;
static sem_t gave_way;
static pid_t guard_thread;

static bool set_policy(pid_t thread, int policy)
{
	return sched_setscheduler(thread, policy, &(struct sched_param){ 0 }) == 0;
}

static void give_no_way(void)
{
	int expected = GIVES_WAY;
	if (!atomic_compare_exchange_strong(&manner, &expected, CHANGING))
		return;
	if (!set_policy(guard_thread, SCHED_OTHER))
		may_give_way = false;
	manner = ORDINARY;
}

static void *look_after(void *nothing)
{
	/* Only who may take the policy back, may give way. */
	if (!set_policy(0, SCHED_IDLE) || !set_policy(0, SCHED_OTHER))
		return nothing;
	looking_after = gettid();
	may_give_way = true;
	for (;;) {
		unsigned before;
		int waiting;
		while (sem_wait(&gave_way) < 0)
			;
		do {
			before = answers;
			nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
		} while (manner == GIVES_WAY && answers - before >= FEW_ANSWERS);
		waiting = 0;
		if (is_at_work || (ioctl(events_fd, FIONREAD, &waiting) == 0 && waiting))
			not_before_ns = monotonic_ns() + STARVED_NS;
		give_no_way();
	}
}

static void begin_looking_after(void)
{
	pthread_t thread;
	sigset_t all, before;
	guard_thread = getpid();
	sigfillset(&all);
	sem_init(&gave_way, 0, 0);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are to interrupt the guard's waiting, not this thread's */
	pthread_create(&thread, NULL, look_after, NULL); /* without it the guard never gives way */
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Is told of each question. */
static void on_question(int32_t pid)
{
	static int32_t last;
	static unsigned count;
	static int64_t since;
	if (pid != last) {
		last = pid, count = 0, since = monotonic_ns();
		give_no_way();
	}
	if (++count < QUICK_QUESTIONS || !may_give_way || manner != ORDINARY)
		return;
	int64_t now = monotonic_ns();
	if (now - since < QUICK_NS && now >= not_before_ns && set_policy(0, SCHED_IDLE)) {
		manner = GIVES_WAY;
		sem_post(&gave_way);
	}
	count = 0, since = now;
}

/* --- what is open ------------------------------------------------------------------------------------------------- */

static struct file *file_of(const struct stat *status)
{
	struct file **at = &buckets[status->st_ino % BUCKETS], *file;
	for (file = *at; file; file = file->next)
		if (file->inode == status->st_ino && file->device == status->st_dev)
			return file;
	file = spare_files;
	if (file)
		spare_files = file->next;
	else if (!(file = malloc(sizeof *file)))
		fail("memory");
	*file = (struct file){
		.next = *at, .device = status->st_dev, .inode = status->st_ino, .size = status->st_size,
	};
	return *at = file;
}

static void forget_file(struct file *file)
{
	struct file **at = &buckets[file->inode % BUCKETS];
	while (*at != file)
		at = &(*at)->next;
	*at = file->next;
	file->next = spare_files;
	spare_files = file;
}

static void make_dirty(struct open_file *open)
{
	if (open->is_dirty)
		return;
	open->is_dirty = true;
	open->next_dirty = dirty;
	dirty = open;
}

static void clean(struct open_file *open)
{
	struct open_file **at = &dirty;
	if (!open->is_dirty)
		return;
	while (*at != open)
		at = &(*at)->next_dirty;
	*at = open->next_dirty;
	open->is_dirty = false;
}

static void end_open(struct open_file *open, uint8_t flags)
{
	struct open_file **at = &open->file->opens;
	open->flags |= flags;
	add_frame(CLOSED, open, open->ranges, "", 0);
	clean(open);
	while (*at != open)
		at = &(*at)->next_of_file;
	*at = open->next_of_file;
	*(open->older ? &open->older->newer : &oldest) = open->newer;
	*(open->newer ? &open->newer->older : &newest) = open->older;
	opens_kept--;
	open->next_of_file = spare_opens;
	spare_opens = open;
}

static struct open_file *begin_open(struct file *file, int32_t pid, uint8_t flags)
{
	const struct process *process = process_of(pid);
	struct open_file *open;
	struct range *range = NULL;
	uint16_t room = 0;
	if (opens_kept >= MOST_OPENS)
		end_open(oldest, WHOLE_FILE | GUARD_ENDED);
	open = spare_opens;
	if (open) {
		spare_opens = open->next_of_file;
		range = open->range, room = open->room;
	} else if (!(open = malloc(sizeof *open)))
		fail("memory");
	*open = (struct open_file){
		.file = file, .next_of_file = file->opens, .older = newest, .id = next_id++, .pid = pid, .uid = process->uid,
		.start_ticks = process->start_ticks, .flags = flags, .range = range, .room = room,
	};
	file->opens = open;
	*(newest ? &newest->newer : &oldest) = open;
	newest = open;
	opens_kept++;
	add_frame(OPENED, open, 0, process->program, process->length);
	return open;
}

static struct open_file *open_of(struct file *file, int32_t pid)
{
	struct open_file *open = file->opens;
	while (open && open->pid != pid)
		open = open->next_of_file;
	return open;
}

/* --- events ------------------------------------------------------------------------------------------------------- */

/* Stops being asked about a file; false where the kernel cannot. The mark goes when the kernel wants its memory back. */
static bool ignore(struct file *file, int fd, bool is_to_be)
{
	unsigned flags = is_to_be ? FAN_MARK_ADD | FAN_MARK_IGNORE_SURV | FAN_MARK_EVICTABLE
				  : FAN_MARK_REMOVE | FAN_MARK_IGNORE_SURV | FAN_MARK_EVICTABLE;
	if (fanotify_mark(events_fd, flags, FAN_PRE_ACCESS, fd, NULL) < 0)
		return false;
	file->is_ignored = is_to_be;
	return true;
}

static void on_open(struct file *file, int fd, int32_t pid)
{
	bool is_small = file->size <= SMALL_FILE;
	if (is_small && !file->is_ignored)
		ignore(file, fd, true);
	begin_open(file, pid, file->is_ignored ? WHOLE_FILE : 0);
	file->open_count++;
}

static void on_read(struct file *file, int fd, int32_t pid, const struct range_info *info)
{
	struct open_file *open = open_of(file, pid);
	process_of(pid);
	struct range range = { 0, file->size }, *last;
	if (!open)
		open = begin_open(file, pid, INHERITED);
	if (open->flags & WHOLE_FILE)
		return;
	if (++open->events > MOST_EVENTS || !info) {
		open->flags |= WHOLE_FILE;
		open->ranges = 0;
		make_dirty(open);
		/* From here on nobody is asked about this file until it is closed: everyone who holds it has read it whole. */
		if (ignore(file, fd, true))
			for (open = file->opens; open; open = open->next_of_file) {
				open->flags |= WHOLE_FILE;
				open->ranges = 0;
				make_dirty(open);
			}
		return;
	}
	if (info->offset < file->size)
		range.offset = info->offset;
	else
		range.offset = file->size; /* at the end: nothing came */
	range.length = file->size - range.offset;
	if (info->count < range.length)
		range.length = info->count;
	if (!range.length)
		return;
	last = open->ranges ? &open->range[open->ranges - 1] : NULL;
	make_dirty(open);
	if (last && range.offset >= last->offset && range.offset <= last->offset + last->length) {
		if (range.offset + range.length > last->offset + last->length)
			last->length = range.offset + range.length - last->offset;
		return;
	}
	if (open->ranges == open->room) {
		open->room = open->room ? open->room * 2 : 4;
		if (!(open->range = realloc(open->range, open->room * sizeof *open->range)))
			fail("memory");
	}
	open->range[open->ranges++] = range;
}

/* Returns how many descriptors of the file a process has; none when it has ended. */
static unsigned count_held(const struct file *file, int32_t pid)
{
	char path[32];
	unsigned count = 0;
	struct stat status;
	struct dirent *entry;
	DIR *folder;
	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	if (!(folder = opendir(path)))
		return 0;
	while ((entry = readdir(folder)))
		if (fstatat(dirfd(folder), entry->d_name, &status, 0) == 0 && status.st_ino == file->inode &&
		    status.st_dev == file->device)
			count++;
	closedir(folder);
	return count;
}

/* The kernel makes one of several closings of a file by one process that come at once: what a process opened more often
 * than it holds it, it has closed. Were that wrong because another process has it, its reads are recorded all the same. */
static void end_merged(struct file *file, int32_t pid)
{
	struct open_file *open, *next;
	unsigned opened = 0, held;
	for (open = file->opens; open; open = open->next_of_file)
		opened += open->pid == pid && !(open->flags & INHERITED);
	if (!opened)
		return;
	held = count_held(file, pid);
	for (open = file->opens; open && opened > held; open = next) {
		next = open->next_of_file;
		if (open->pid != pid || open->flags & INHERITED)
			continue;
		end_open(open, 0);
		opened--;
		if (file->open_count)
			file->open_count--;
	}
}

static void on_close(struct file *file, int fd, int32_t pid)
{
	struct open_file *open, *found = NULL;
	for (open = file->opens; open; open = open->next_of_file)
		if (!(open->flags & INHERITED) && (!found || (open->pid == pid && found->pid != pid)))
			found = open;
	if (found)
		end_open(found, 0);
	if (file->open_count)
		file->open_count--;
	end_merged(file, pid);
	if (file->open_count)
		return;
	while (file->opens)
		end_open(file->opens, 0);
	if (file->is_ignored && file->size > SMALL_FILE)
		ignore(file, fd, false); /* fails when the kernel has dropped it before: as good */
	forget_file(file);
}

static const struct range_info *range_of(const struct fanotify_event_metadata *event)
{
	const uint8_t *at = (const uint8_t *)event + event->metadata_len;
	const uint8_t *end = (const uint8_t *)event + event->event_len;
	while (at + sizeof(struct fanotify_event_info_header) <= end) {
		const struct range_info *info = (const void *)at;
		if (info->header.info_type == INFO_TYPE_RANGE && at + sizeof *info <= end)
			return info;
		at += info->header.len ? info->header.len : sizeof info->header;
	}
	return NULL;
}

/* Returns whether the kernel had such a question. */
static bool answer(int fd, uint32_t response)
{
	struct fanotify_response said = { .fd = fd, .response = response };
	ssize_t written;
	while ((written = write(events_fd, &said, sizeof said)) < 0 && errno == EINTR)
		;
	return written == sizeof said;
}

static void handle(const struct fanotify_event_metadata *event)
{
	struct stat status;
	struct file *file;
	if (fstat(event->fd, &status) < 0)
		fail("a file cannot be looked at");
	file = file_of(&status);
	if (event->mask & FAN_OPEN_PERM)
		on_open(file, event->fd, event->pid);
	if (event->mask & FAN_PRE_ACCESS)
		on_read(file, event->fd, event->pid, range_of(event));
	if (event->mask & FAN_CLOSE_NOWRITE)
		on_close(file, event->fd, event->pid);
}

static void write_parts(void)
{
	struct open_file *open;
	while ((open = dirty)) {
		dirty = open->next_dirty;
		open->is_dirty = false;
		add_frame(READ, open, open->ranges, "", 0);
		open->ranges = 0;
	}
	flush_frames();
}

static void begin(void)
{
	struct open_file nobody = { .file = &(struct file){ 0 }, .pid = getpid() };
	/* The kernel tells questions apart by the number that the file had in the guard that took them. A guard may die
	 * before it could note a number anywhere, and ours begin anew: each number that was possible is refused, or an
	 * answer to a question of ours would let the reader of an older one go on. */
	for (int fd = 0; fd < MOST_DESCRIPTORS; fd++)
		while (answer(fd, FAN_DENY))
			nobody.id++;
	/* What an earlier guard no longer asked about, nobody here knows: everything is asked about again. */
	if (fanotify_mark(events_fd, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL) < 0)
		fail("marks of an earlier guard");
	begin_segment();
	add_frame(STARTED, &nobody, 0, "", 0);
	flush_frames();
	/* Ids stay unique over guards: the time in nanoseconds is later than any id counted from an earlier one. */
	next_id = now_ns();
}

int main(int count, char **words)
{
	static uint8_t buffer[8192] __attribute__((aligned(8)));
	struct sigaction action = { .sa_handler = on_signal };
	struct itimerval second = { { 1, 0 }, { 1, 0 } };
	struct rlimit descriptors = { MOST_DESCRIPTORS, MOST_DESCRIPTORS };
	if (count != 5) {
		dprintf(2, "usage: nightingale-guard EVENTS_FD SPOOL_FD PARENT_PID MOST_SEGMENTS\n");
		return 2;
	}
	events_fd = atoi(words[1]);
	spool_fd = atoi(words[2]);
	most_segments = atoi(words[4]);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* one guard at a time: the next is started by whoever sees this one's parent die */
	if (getppid() != atoi(words[3]))
		return 1; /* it died before that was said */
	if (setrlimit(RLIMIT_NOFILE, &descriptors) < 0)
		fail("the limit of descriptors");
	setpriority(PRIO_PROCESS, 0, -20);
	begin_looking_after();
	begin();
	setitimer(ITIMER_REAL, &second, NULL);
	for (;;) {
		ssize_t length = read(events_fd, buffer, sizeof buffer);
		const struct fanotify_event_metadata *event = (const void *)buffer;
		if (length < 0 && errno != EINTR && errno != EAGAIN)
			fail("the kernel's events");
		if (is_tick || is_told_to_end) {
			is_tick = 0;
			write_parts();
		}
		if (length <= 0) {
			if (is_told_to_end)
				break;
			continue;
		}
		is_at_work = true;
		for (ssize_t left = length; FAN_EVENT_OK(event, left); event = FAN_EVENT_NEXT(event, left)) {
			if (event->mask & (FAN_OPEN_PERM | FAN_PRE_ACCESS))
				on_question(event->pid);
			if (event->fd >= 0)
				handle(event);
		}
		flush_frames();
		event = (const void *)buffer;
		for (ssize_t left = length; FAN_EVENT_OK(event, left); event = FAN_EVENT_NEXT(event, left)) {
			if (event->mask & (FAN_OPEN_PERM | FAN_PRE_ACCESS)) {
				answer(event->fd, FAN_ALLOW);
				answers++;
			}
			if (event->fd >= 0)
				close(event->fd);
		}
		is_at_work = false;
	}
	while (oldest)
		end_open(oldest, GUARD_ENDED);
	flush_frames();
	return 0;
}
