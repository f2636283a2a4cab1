// Holdfast
// SPDX-License-Identifier: Apache-2.0

// OpenSSL for Swift: the headers, and inline functions in place of the function-like macros, which Swift does not import.
#pragma once
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
