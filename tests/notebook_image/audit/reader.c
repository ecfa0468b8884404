/* Reads a file in one of the ways a Linux program can, and writes what it got to standard output.
 *
 *   reader MODE PATH OFFSET LENGTH
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *path;
static off_t offset;
static size_t length;

static void need(int is_good, const char *what)
{
	if (is_good)
		return;
	fprintf(stderr, "reader: %s: %s\n", what, strerror(errno));
	exit(errno == ENOSYS || errno == EOPNOTSUPP ? 77 : 1);
}

static void show(const void *bytes, size_t count)
{
	while (count) {
		ssize_t written = write(1, bytes, count);
		need(written > 0, "write");
		bytes = (const char *)bytes + written, count -= written;
	}
}

static int opened(int flags)
{
	int fd = open(path, O_RDONLY | flags);
	need(fd >= 0, "open");
	return fd;
}

static void *room(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(at != MAP_FAILED, "memory");
	return at;
}

static void pread_all(int fd)
{
	char *at = room(length);
	size_t got = 0;
	while (got < length) {
		ssize_t count = pread(fd, at + got, length - got, offset + got);
		need(count >= 0, "pread");
		if (!count)
			break;
		got += count;
	}
	show(at, got);
}

static void by_read(void)
{
	int fd = opened(0);
	char *at = room(length);
	need(lseek(fd, offset, SEEK_SET) == offset, "lseek");
	ssize_t count = read(fd, at, length);
	need(count >= 0, "read");
	show(at, count);
}

static void by_readv(void)
{
	int fd = opened(0);
	char *at = room(length);
	struct iovec parts[2] = { { at, length / 2 }, { at + length / 2, length - length / 2 } };
	ssize_t count = preadv2(fd, parts, 2, offset, 0);
	need(count >= 0, "preadv2");
	show(at, count);
}

static void by_mmap(int is_closed_before)
{
	int fd = opened(0);
	char *at = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, offset);
	need(at != MAP_FAILED, "mmap");
	if (is_closed_before)
		close(fd);
	show(at, length);
}

static void by_grown_mapping(void)
{
	int fd = opened(0);
	char *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, offset);
	need(at != MAP_FAILED, "mmap");
	at = mremap(at, 4096, length, MREMAP_MAYMOVE);
	need(at != MAP_FAILED, "mremap");
	show(at, length);
}

/* A mapping that grows downwards by itself when the page below it is touched. */
static void by_grown_down(void)
{
	int fd = opened(0);
	char *at = mmap(NULL, length + 4096 * 512, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(at != MAP_FAILED, "mmap");
	munmap(at, length + 4096 * 512);
	at = mmap(at + length - 4096 + 4096 * 512, 4096, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN | MAP_FIXED, fd, offset + length - 4096);
	need(at != MAP_FAILED, "mmap");
	for (size_t below = 4096; below < length; below += 4096)
		(void)*(volatile char *)(at - below);
	show(at + 4096 - length, length);
}

/* A mapping that another part of the file is put into, without a word of mmap. */
static void by_remapped_pages(void)
{
	int fd = opened(0);
	char *at = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
	need(at != MAP_FAILED, "mmap");
	if (syscall(SYS_remap_file_pages, at, length, 0, offset / 4096, 0) == 0)
		show(at, length);
}

static void by_sendfile(void)
{
	int fd = opened(0);
	off_t at = offset;
	size_t left = length;
	while (left) {
		ssize_t count = sendfile(1, fd, &at, left);
		need(count >= 0, "sendfile");
		if (!count)
			break;
		left -= count;
	}
}

static void by_splice(void)
{
	int fd = opened(0);
	off_t at = offset;
	size_t left = length;
	while (left) {
		ssize_t count = splice(fd, &at, 1, NULL, left, 0);
		need(count >= 0, "splice");
		if (!count)
			break;
		left -= count;
	}
}

static void by_copy(void)
{
	int fd = opened(0), copy = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	need(copy >= 0, "a file for the copy");
	off_t at = offset;
	size_t left = length;
	while (left) {
		ssize_t count = copy_file_range(fd, &at, copy, NULL, left, 0);
		if (count < 0 && errno == EXDEV)
			exit(77); /* /tmp is no ext4, and the kernel copies between two file systems of one type only */
		need(count >= 0, "copy_file_range");
		if (!count)
			break;
		left -= count;
	}
	char *back = mmap(NULL, length, PROT_READ, MAP_SHARED, copy, 0);
	need(back != MAP_FAILED, "mmap of the copy");
	show(back, length - left);
}

static void by_uring(void)
{
	struct io_uring_params told = { 0 };
	int fd = opened(0), ring = syscall(SYS_io_uring_setup, 4, &told);
	need(ring >= 0, "io_uring_setup");
	char *sq = mmap(NULL, told.sq_off.array + told.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring, 0);
	char *cq = mmap(NULL, told.cq_off.cqes + told.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE,
			MAP_SHARED, ring, IORING_OFF_CQ_RING);
	struct io_uring_sqe *entry = mmap(NULL, told.sq_entries * sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
					  IORING_OFF_SQES);
	need(sq != MAP_FAILED && cq != MAP_FAILED && entry != MAP_FAILED, "the rings");
	char *at = room(length);
	*entry = (struct io_uring_sqe){
		.opcode = IORING_OP_READ, .fd = fd, .addr = (uintptr_t)at, .len = length, .off = offset,
		.flags = IOSQE_ASYNC, /* a worker of the kernel's reads, not this thread */
	};
	((uint32_t *)(sq + told.sq_off.array))[0] = 0;
	__atomic_store_n((uint32_t *)(sq + told.sq_off.tail), 1, __ATOMIC_RELEASE);
	need(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1, "io_uring_enter");
	int count = ((struct io_uring_cqe *)(cq + told.cq_off.cqes))->res;
	errno = -count;
	need(count >= 0, "the read of the ring");
	show(at, count);
}

static void by_aio(void)
{
	int fd = opened(0);
	aio_context_t context = 0;
	struct io_event event;
	char *at = room(length);
	struct iocb ask = {
		.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = fd, .aio_buf = (uintptr_t)at, .aio_nbytes = length,
		.aio_offset = offset,
	}, *asks = &ask;
	need(syscall(SYS_io_setup, 4, &context) == 0, "io_setup");
	need(syscall(SYS_io_submit, context, 1, &asks) == 1, "io_submit");
	need(syscall(SYS_io_getevents, context, 1, 1, &event, NULL) == 1, "io_getevents");
	show(at, event.res);
}

static void by_direct(void)
{
	int fd = opened(O_DIRECT);
	char *at = room(length);
	ssize_t count = pread(fd, at, length, offset);
	need(count >= 0, "pread of a file opened for direct reading");
	show(at, count);
}

static void by_child(void)
{
	int fd = opened(0), status;
	if (fork() == 0) {
		pread_all(fd);
		_exit(0);
	}
	need(wait(&status) > 0 && status == 0, "the child");
}

/* One process opens, another that has nothing to do with it gets the descriptor over a socket, and reads. */
static void by_passed(void)
{
	int pair[2], status;
	char word = 'x', space[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec part = { &word, 1 };
	struct msghdr letter = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space };
	struct cmsghdr *head = CMSG_FIRSTHDR(&letter);
	need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
	if (fork() == 0) {
		need(recvmsg(pair[1], &letter, 0) == 1, "recvmsg");
		pread_all(*(int *)CMSG_DATA(CMSG_FIRSTHDR(&letter)));
		_exit(0);
	}
	*head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
	*(int *)CMSG_DATA(head) = opened(0);
	need(sendmsg(pair[0], &letter, 0) == 1, "sendmsg");
	need(wait(&status) > 0 && status == 0, "the child");
}

static void by_exec(char *self)
{
	char fd[16], from[32], count[32];
	snprintf(fd, sizeof fd, "%d", opened(0));
	snprintf(from, sizeof from, "%jd", (intmax_t)offset);
	snprintf(count, sizeof count, "%zu", length);
	execl(self, self, "descriptor", fd, from, count, (char *)NULL);
	need(0, "exec");
}

static int shared;
static char *shared_room;

static void *thread(void *number)
{
	size_t part = length / 4, at = (uintptr_t)number * part;
	need(pread(shared, shared_room + at, part, offset + at) == (ssize_t)part, "pread of a thread");
	return NULL;
}

static void by_threads(void)
{
	pthread_t threads[4];
	shared = opened(0), shared_room = room(length);
	for (uintptr_t at = 0; at < 4; at++)
		need(pthread_create(&threads[at], NULL, thread, (void *)at) == 0, "a thread");
	for (int at = 0; at < 4; at++)
		pthread_join(threads[at], NULL);
	show(shared_room, length);
}

/* LENGTH reads of 4 KiB, OFFSET bytes from one to the next: never two that touch. */
static void by_scattered(void)
{
	int fd = opened(0);
	char page[4096];
	for (size_t number = 0; number < length; number++) {
		need(pread(fd, page, sizeof page, (off_t)number * offset) == sizeof page, "pread");
		show(page, sizeof page);
	}
}

/* Opens, says so, and reads each time it is told a line "OFFSET LENGTH"; an empty line closes and opens no more. */
static void by_told(void)
{
	int fd = opened(0);
	char line[64];
	show("open\n", 5);
	while (fgets(line, sizeof line, stdin) && line[0] != '\n') {
		need(sscanf(line, "%jd %zu", (intmax_t *)&offset, &length) == 2, "a line");
		char *at = room(length);
		ssize_t count = pread(fd, at, length, offset);
		if (count < 0)
			dprintf(1, "refused %d\n", errno);
		else
			dprintf(1, "got %zd\n", count);
		munmap(at, length);
	}
}

/* Opens and reads PATH LENGTH times, at places that OFFSET is the seed of; a line for each range that it got. */
static void by_storm(void)
{
	char page[65536];
	unsigned seed = offset;
	for (size_t number = 0; number < length; number++) {
		int fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		off_t size = lseek(fd, 0, SEEK_END);
		for (int times = 1 + rand_r(&seed) % 3; times; times--) {
			off_t at = (off_t)(rand_r(&seed) % (size / 4096 + 1)) * 4096;
			size_t want = 4096 * (1 + rand_r(&seed) % 16);
			ssize_t got = pread(fd, page, want, at);
			if (got > 0)
				dprintf(1, "%d %jd %zd\n", getpid(), (intmax_t)at, got);
		}
		close(fd);
	}
}

/* Opens and closes PATH LENGTH times, at most OFFSET times a second; says how many nanoseconds an opening took. */
static void by_opens(void)
{
	struct timespec begun, now;
	clock_gettime(CLOCK_MONOTONIC, &begun);
	int64_t busy = 0, start = begun.tv_sec * 1000000000 + begun.tv_nsec;
	for (size_t number = 0; number < length; number++) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		int64_t at = now.tv_sec * 1000000000 + now.tv_nsec, due = start + (int64_t)number * 1000000000 / offset;
		if (at < due)
			nanosleep(&(struct timespec){ .tv_nsec = due - at }, NULL);
		clock_gettime(CLOCK_MONOTONIC, &begun);
		close(opened(0));
		clock_gettime(CLOCK_MONOTONIC, &now);
		busy += (now.tv_sec - begun.tv_sec) * 1000000000 + now.tv_nsec - begun.tv_nsec;
	}
	printf("%jd\n", (intmax_t)(busy / length));
}

int main(int count, char **words)
{
	if (count != 5)
		return 2;
	char *mode = words[1];
	path = words[2], offset = strtoll(words[3], NULL, 10), length = strtoull(words[4], NULL, 10);
	if (!strcmp(mode, "read")) by_read();
	else if (!strcmp(mode, "pread")) pread_all(opened(0));
	else if (!strcmp(mode, "readv")) by_readv();
	else if (!strcmp(mode, "mmap")) by_mmap(0);
	else if (!strcmp(mode, "mmap_then_close")) by_mmap(1);
	else if (!strcmp(mode, "grown_mapping")) by_grown_mapping();
	else if (!strcmp(mode, "grown_down")) by_grown_down();
	else if (!strcmp(mode, "remapped_pages")) by_remapped_pages();
	else if (!strcmp(mode, "sendfile")) by_sendfile();
	else if (!strcmp(mode, "splice")) by_splice();
	else if (!strcmp(mode, "copy_file_range")) by_copy();
	else if (!strcmp(mode, "io_uring")) by_uring();
	else if (!strcmp(mode, "aio")) by_aio();
	else if (!strcmp(mode, "direct")) by_direct();
	else if (!strcmp(mode, "child")) by_child();
	else if (!strcmp(mode, "passed")) by_passed();
	else if (!strcmp(mode, "exec")) by_exec(words[0]);
	else if (!strcmp(mode, "descriptor")) pread_all(atoi(path));
	else if (!strcmp(mode, "threads")) by_threads();
	else if (!strcmp(mode, "scattered")) by_scattered();
	else if (!strcmp(mode, "told")) by_told();
	else if (!strcmp(mode, "storm")) by_storm();
	else if (!strcmp(mode, "opens")) by_opens();
	else if (!strcmp(mode, "open")) opened(0);
	else return 2;
	return 0;
}
