// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Core
import Glibc

/// What OpenSSL may touch during one call: where cipher bytes come from and go to, and whose call it is.
///
/// It lives on the stack of that call. The BIO points at it only meanwhile, so an idle connection holds no buffer and no
/// pointer of ours stays in C. The engine is there for OpenSSL's callbacks: they get an `SSL *`, whose BIO leads here,
/// which costs no `ex_data` array a connection.
@safe struct Wire {
    var input: UnsafeMutablePointer<ByteBuffer>?
    var output: UnsafeMutablePointer<ByteBuffer>?
    /// The engine whose call this is: alive, since one of its methods is running.
    var engine: Unmanaged<TLSEngine>

    /// The engine on whose behalf OpenSSL calls back with `ssl`; nil outside any call.
    static func engine(of ssl: OpaquePointer?) -> TLSEngine? {
        guard let bio = unsafe SSL_get_rbio(ssl), let wire = unsafe wire(of: bio) else { return nil }
        return unsafe wire.pointee.engine.takeUnretainedValue()
    }

    @inline(__always)
    fileprivate static func wire(of bio: OpaquePointer?) -> UnsafeMutablePointer<Wire>? {
        // Only `TLSEngine.withWire` sets the data, always to a `Wire`.
        unsafe BIO_get_data(bio)?.assumingMemoryBound(to: Wire.self)
    }
}

/// The BIO through which OpenSSL reads and writes `ByteBuffer`s directly.
enum ByteBufferBIO {
    /// A fresh BIO, owned by the caller; nil when out of memory.
    static func make() -> OpaquePointer? {
        guard let bio = unsafe BIO_new(method.raw) else { return nil }
        unsafe BIO_set_init(bio, 1)
        return unsafe bio
    }

    /// One method table for the whole process, never freed and never changed after it was made.
    @safe private struct Method: @unchecked Sendable {
        let raw: OpaquePointer?
    }

    private static let method: Method = {
        let raw = unsafe BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "holdfast")
        unsafe BIO_meth_set_read_ex(raw) { bio, data, length, read in
            unsafe holdfast_BIO_clear_retry_flags(bio)
            guard let wire = unsafe Wire.wire(of: bio), let input = unsafe wire.pointee.input, let data = unsafe data,
                unsafe !input.pointee.isEmpty
            else {
                // Never an end of file: the end of the peer's stream is told to the engine, not to OpenSSL.
                unsafe holdfast_BIO_set_retry_read(bio)
                return 0
            }
            let n = unsafe min(length, input.pointee.count)
            unsafe input.pointee.withUnsafeReadable { bytes in
                if let start = bytes.baseAddress { unsafe memcpy(data, start, n) }
            }
            unsafe input.pointee.consume(n)
            unsafe read?.pointee = n
            return 1
        }
        unsafe BIO_meth_set_write_ex(raw) { bio, data, length, written in
            unsafe holdfast_BIO_clear_retry_flags(bio)
            guard let wire = unsafe Wire.wire(of: bio), let output = unsafe wire.pointee.output else { return 0 }
            unsafe output.pointee.append(UnsafeRawBufferPointer(start: data, count: length))
            unsafe written?.pointee = length
            return 1
        }
        unsafe BIO_meth_set_ctrl(raw) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
        return unsafe Method(raw: raw)
    }()
}
