// Holdfast
// SPDX-License-Identifier: Apache-2.0

// The few kernel calls and macros that Glibc's module hides from Swift.
#pragma once
// No _GNU_SOURCE: Glibc's module is built without it, and a type that both see differently (fd_set) stops the compiler. What is
// needed of GNU's own calls is declared here.
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags);
/// malloc_trim(3): gives the free pages of all arenas back to the kernel.
extern int malloc_trim(size_t pad);
extern int pthread_setname_np(pthread_t thread, const char *name);
extern int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set);

/// Ignores SIGPIPE for the whole process: SIG_IGN is a macro with a cast, which Swift does not import.
static inline void holdfast_ignore_sigpipe(void) { signal(SIGPIPE, SIG_IGN); }

/// The socket types that carry SOCK_NONBLOCK and SOCK_CLOEXEC, which are enum constants of a type of their own.
static inline int holdfast_stream_socket(int family) { return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

/// accept4 with both flags set.
static inline int holdfast_accept(int listener, struct sockaddr *address, socklen_t *length) {
    return accept4(listener, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/// Names the calling thread, at most 15 characters.
static inline void holdfast_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

/// EPOLLET is 1 << 31, which Swift imports as a negative number.
static const uint32_t holdfast_edge_events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
