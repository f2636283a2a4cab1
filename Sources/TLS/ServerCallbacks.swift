// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Core

/// What OpenSSL asks a server during a handshake. Each finds its engine through the BIO (see `Wire`), so each runs inside
/// a call of that engine.
enum ServerCallbacks {
    // MARK: Certificate by name

    /// Before anything else is decided, and before a session is resumed: which certificates serve this client.
    static let clientHello: @convention(c) (OpaquePointer?, UnsafeMutablePointer<Int32>?, UnsafeMutableRawPointer?) -> Int32 = {
        ssl, alert, _ in
        guard let engine = unsafe Wire.engine(of: ssl), let context = engine.serverContext else {
            unsafe alert?.pointee = SSL_AD_INTERNAL_ERROR
            return SSL_CLIENT_HELLO_ERROR
        }
        var start: UnsafePointer<UInt8>?
        var length = 0
        guard unsafe SSL_client_hello_get0_ext(ssl, UInt32(TLSEXT_TYPE_server_name), &start, &length) == 1 else {
            return SSL_CLIENT_HELLO_SUCCESS  // no SNI: the default
        }
        // OpenSSL keeps the extension's bytes while this callback runs.
        let bytes = unsafe UnsafeBufferPointer(start: start, count: length)
        guard let name = unsafe ServerNameIndication.hostName(in: bytes.span) else {
            unsafe alert?.pointee = SSL_AD_DECODE_ERROR
            return SSL_CLIENT_HELLO_ERROR
        }
        var isPrintable = true
        var isKnown = false
        unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 255) { scratch in
            for i in name {
                let byte = unsafe asciiLowercase(bytes[i])
                if byte <= 0x20 || byte >= 0x7F { isPrintable = false }
                unsafe scratch[i - name.lowerBound] = byte
            }
            guard isPrintable else { return }
            let lower = unsafe UnsafeBufferPointer(rebasing: scratch[..<name.count])
            unsafe engine.serverName = String(decoding: lower, as: UTF8.self)
            guard let chosen = unsafe context.context(for: lower.span) else { return }
            isKnown = true
            unsafe SSL_set_SSL_CTX(ssl, chosen.raw)  // nothing when it is the default, which `SSL_new` began with
        }
        engine.isServerNameKnown = isKnown
        guard isPrintable, isKnown || context.settings.unknownServerName == .useDefault else {
            unsafe alert?.pointee = SSL_AD_UNRECOGNIZED_NAME
            return SSL_CLIENT_HELLO_ERROR
        }
        return SSL_CLIENT_HELLO_SUCCESS
    }

    /// Acknowledges the name where it was used (RFC 6066 §3).
    static let serverName: @convention(c) (OpaquePointer?, UnsafeMutablePointer<Int32>?, UnsafeMutableRawPointer?) -> Int32 = {
        ssl, _, _ in
        unsafe Wire.engine(of: ssl)?.isServerNameKnown == true ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK
    }

    // MARK: ALPN

    /// The first of our protocols that the client offers; none: the no_application_protocol alert (RFC 7301 §3.2).
    static let alpn:
        @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<UnsafePointer<UInt8>?>?, UnsafeMutablePointer<UInt8>?, UnsafePointer<UInt8>?,
            UInt32,
            UnsafeMutableRawPointer?
        ) -> Int32 = { ssl, selected, selectedLength, offered, offeredLength, _ in
            guard let list = unsafe Wire.engine(of: ssl)?.serverContext?.applicationProtocols.wire else {
                return SSL_TLSEXT_ERR_ALERT_FATAL
            }
            let offer = unsafe UnsafeBufferPointer(start: offered, count: Int(offeredLength))
            var ours = 0
            while ours < list.count {
                let length = Int(list[ours])
                var theirs = 0
                while theirs < offer.count {
                    let end = unsafe theirs + 1 + Int(offer[theirs])
                    guard end <= offer.count else { return SSL_TLSEXT_ERR_ALERT_FATAL }
                    if end - theirs - 1 == length, (1...length).allSatisfy({ unsafe offer[theirs + $0] == list[ours + $0] }) {
                        // Points into the client's own offer, which OpenSSL copies from.
                        unsafe selected?.pointee = offered.map { unsafe $0 + theirs + 1 }
                        unsafe selectedLength?.pointee = UInt8(truncatingIfNeeded: length)
                        return SSL_TLSEXT_ERR_OK
                    }
                    theirs = end
                }
                ours += length + 1
            }
            return SSL_TLSEXT_ERR_ALERT_FATAL
        }

    // MARK: Tickets

    /// Keys for sealing (`sealing` 1) or opening (0) one ticket. 0: no ticket, or not one of ours; 2: opened, and to be
    /// renewed, which for TLS 1.3 is always so, since its tickets are for one use (RFC 8446 §C.4).
    static let ticketKey:
        @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt8>?, OpaquePointer?, OpaquePointer?, Int32
        ) -> Int32 = { ssl, name, iv, cipher, mac, sealing in
            guard let keys = unsafe Wire.engine(of: ssl)?.serverContext?.settings.ticketKeys, let name = unsafe name,
                let iv = unsafe iv
            else { return 0 }
            if sealing == 1 {
                let generation = keys.current
                guard unsafe RAND_bytes(iv, 16) == 1 else { return -1 }
                unsafe generation.copyName(to: name)
                return unsafe generation.prepare(cipher, mac, iv: iv, encrypting: true) ? 1 : -1
            }
            guard let (generation, isCurrent) = unsafe keys.generation(named: name) else { return 0 }
            guard unsafe generation.prepare(cipher, mac, iv: iv, encrypting: false) else { return -1 }
            return unsafe isCurrent && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2
        }

    /// Dates the session by the virtual clock, if there is one, so that a ticket's content does not depend on the real one.
    static let ticketMade: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = { ssl, _ in
        if let context = unsafe Wire.engine(of: ssl)?.serverContext, let now = context.wallTime {
            unsafe SSL_SESSION_set_time(SSL_get_session(ssl), Int(clamping: now))
            // A resumed one carries what `ticketOpened` set.
            unsafe SSL_SESSION_set_timeout(SSL_get_session(ssl), context.sessionSeconds)
        }
        return 1
    }

    /// Judges a session's age by the virtual clock, if there is one.
    static let ticketOpened:
        @convention(c) (
            OpaquePointer?, OpaquePointer?, UnsafePointer<UInt8>?, Int, SSL_TICKET_STATUS, UnsafeMutableRawPointer?
        ) -> SSL_TICKET_RETURN = { ssl, session, _, _, status, _ in
            guard status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW else {
                return SSL_TICKET_RETURN(SSL_TICKET_RETURN_IGNORE_RENEW)
            }
            if let now = unsafe Wire.engine(of: ssl)?.serverContext?.wallTime {
                let (age, overflow) = unsafe Int(clamping: now).subtractingReportingOverflow(SSL_SESSION_get_time(session))
                if unsafe overflow || age < 0 || age > SSL_SESSION_get_timeout(session) {
                    return SSL_TICKET_RETURN(SSL_TICKET_RETURN_IGNORE_RENEW)
                }
                // Else OpenSSL would judge by the real clock, which has nothing to do with the virtual one.
                unsafe SSL_SESSION_set_timeout(session, Int.max >> 1)
            }
            return SSL_TICKET_RETURN(status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW)
        }
}

/// The extension in which a client says whom it wants to speak to (RFC 6066 §3).
enum ServerNameIndication {
    /// Where the host name is in the extension; nil when the extension is malformed.
    static func hostName(in bytes: Span<UInt8>) -> Range<Int>? {
        // ServerNameList: length (2), then entries of type (1), length (2), name. OpenSSL, too, takes the first alone.
        guard bytes.count >= 5, Int(bytes[0]) << 8 | Int(bytes[1]) == bytes.count - 2, bytes[2] == 0 else { return nil }
        let length = Int(bytes[3]) << 8 | Int(bytes[4])
        guard length > 0, length <= 255, 5 + length <= bytes.count else { return nil }
        return 5..<(5 + length)
    }
}
