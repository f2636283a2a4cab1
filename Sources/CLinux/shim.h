// Holdfast
// SPDX-License-Identifier: Apache-2.0

// The few kernel calls and macros that Glibc's module hides from Swift.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
