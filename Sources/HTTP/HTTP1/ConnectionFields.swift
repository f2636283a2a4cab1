// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension RequestHead {
    /// Removes what is meant for this connection only, before the head goes on to an upstream (RFC 9110 §7.6.1; case A17).
    ///
    /// To be called before the gateway adds fields of its own: a client must not be able to nominate those away
    /// (CVE-2021-32813). Framing fields go as well, since `framing` says what they meant.
    package func stripConnectionFields() { fields.stripConnectionFields() }
}

extension ResponseHead {
    /// Removes what was meant for the upstream connection only. Content-Length stays: it is what answers to HEAD and 304s
    /// are about, and the encoder never copies it.
    package func stripConnectionFields() { fields.stripConnectionFields() }
}

extension FieldName {
    @inline(__always) var bit: UInt64 { 1 << UInt64(rawValue) }

    /// Fields about one connection, whether nominated or not. `Trailer` is among them by policy: which trailers come is known
    /// when they come. `Proxy-Authorization` is for a proxy that asked for it, which a gateway never does.
    static var hopByHop: UInt64 {
        FieldName.connection.bit | FieldName.keepAlive.bit | FieldName.proxyConnection.bit | FieldName.te.bit
            | FieldName.trailer.bit | FieldName.transferEncoding.bit | FieldName.upgrade.bit | FieldName.http2Settings.bit
            | FieldName.proxyAuthorization.bit
    }
}

extension FieldSection {
    /// Removes the fields that Connection nominates and those that always are about one connection.
    ///
    /// Only names that the gateway does not know are removed for being nominated. What it knows and is not hop-by-hop is
    /// meant for all recipients (Authorization, Cookie, Content-Length, X-Forwarded-*, …), and a sender may not name such
    /// (§7.6.1).
    mutating func stripConnectionFields() {
        removeNominated()
        for i in 0..<count where !entries[i].isRemoved {
            let entry = entries[i]
            if entry.known.bit & FieldName.hopByHop != 0 {
                remove(at: i)
            } else if entry.known == .other, entry.name.length == 18 || entry.name.length == 25 {
                let isForProxies = withBytes(entry.name) {
                    $0.equals("proxy-authenticate") || $0.equals("proxy-authentication-info")
                }
                if isForProxies { remove(at: i) }
            }
        }
    }

    private mutating func removeNominated() {
        var next = first(.connection)
        while let i = next {
            var position = 0
            while let option = withValue(i, { $0.nextListElement(&position) }) {
                switch option.count {
                case 5 where withValue(i, { $0.extracting(option).equalsIgnoringCase("close") }): continue
                case 10 where withValue(i, { $0.extracting(option).equalsIgnoringCase("keep-alive") }): continue
                default: removeUnknown(namedIn: i, option)
                }
            }
            next = first(.connection, from: i + 1)
        }
    }

    private mutating func removeUnknown(namedIn i: Int, _ option: Range<Int>) {
        for k in 0..<count where entries[k].known == .other && Int(entries[k].name.length) == option.count {
            let isNamed = withValue(i) { value in
                withBytes(entries[k].name) { $0.isLowercased(of: value.extracting(option)) }
            }
            if isNamed { remove(at: k) }
        }
    }
}

extension Span<UInt8> {
    /// Whether these bytes, in lower case, are `other` in any case.
    func isLowercased(of other: Span<UInt8>) -> Bool {
        let n = count
        if n != other.count { return false }
        for i in 0..<n where self[i] != other[i].asciiLowercased { return false }
        return true
    }
}
