// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CHiredis

/// A reply of Redis (RESP2).
package enum RESPValue: Equatable, Sendable {
    case status([UInt8])
    case error([UInt8])
    case integer(Int64)
    case string([UInt8])
    case null
    case array([RESPValue])
}

/// Why what a server says is none of Redis's replies.
package struct RESPError: Error, Equatable {
    package var message: String

    package init(message: String) { self.message = message }
}

/// Turns bytes from a Redis server into replies: hiredis's parser, with a limit on how much one reply may be.
@safe package final class RESPReader {
    /// Nothing that a limit asks for is longer.
    static let limitBytes = 1 << 20

    // Freed in `deinit` alone.
    private let raw: UnsafeMutablePointer<redisReader>
    private var pending = 0

    package init() {
        guard let made = unsafe redisReaderCreate() else { preconditionFailure("out of memory for a reader") }
        unsafe raw = made
    }

    deinit { unsafe redisReaderFree(raw) }

    package func feed(_ bytes: Span<UInt8>) throws(RESPError) {
        pending += bytes.count
        guard pending <= RESPReader.limitBytes else {
            throw RESPError(message: "a reply is longer than \(RESPReader.limitBytes) bytes")
        }
        // hiredis copies the bytes before it returns.
        let result = unsafe bytes.withUnsafeBytes { buffer in
            unsafe redisReaderFeed(raw, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), buffer.count)
        }
        if result != REDIS_OK { throw error() }
    }

    /// The next reply, once it is complete.
    package func next() throws(RESPError) -> RESPValue? {
        var reply: UnsafeMutableRawPointer?
        guard unsafe redisReaderGetReply(raw, &reply) == REDIS_OK else { throw error() }
        guard let reply = unsafe reply else { return nil }
        // The object is ours from now on; the value is a copy of it.
        defer { unsafe freeReplyObject(reply) }
        pending = 0
        return unsafe RESPReader.value(reply.assumingMemoryBound(to: redisReply.self))
    }

    private func error() -> RESPError {
        let message = unsafe withUnsafeBytes(of: raw.pointee.errstr) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        return RESPError(message: message.isEmpty ? "not the protocol of Redis" : message)
    }

    /// hiredis bounds the depth of arrays to seven.
    private static func value(_ reply: UnsafeMutablePointer<redisReply>) -> RESPValue {
        switch unsafe reply.pointee.type {
        case REDIS_REPLY_STATUS: return unsafe .status(text(reply))
        case REDIS_REPLY_ERROR: return unsafe .error(text(reply))
        case REDIS_REPLY_INTEGER: return unsafe .integer(reply.pointee.integer)
        case REDIS_REPLY_STRING: return unsafe .string(text(reply))
        case REDIS_REPLY_ARRAY:
            guard let elements = unsafe reply.pointee.element else { return .array([]) }
            return unsafe .array(
                (0..<Int(clamping: reply.pointee.elements)).map { i in unsafe elements[i].map { unsafe value($0) } ?? .null })
        default: return .null
        }
    }

    private static func text(_ reply: UnsafeMutablePointer<redisReply>) -> [UInt8] {
        guard let start = unsafe reply.pointee.str else { return [] }
        return unsafe Array(UnsafeRawBufferPointer(start: start, count: Int(clamping: reply.pointee.len)))
    }
}
