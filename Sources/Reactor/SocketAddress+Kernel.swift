// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

extension SocketAddress.Host {
    init(_ address: in6_addr, scope: UInt32) {
        let (high, low) = unsafe withUnsafeBytes(of: address) { bytes in
            unsafe (bytes.loadUnaligned(as: UInt64.self), bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        }
        self = .v6(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low), scope: scope)
    }
}

extension SocketAddress {
    var family: Int32 {
        switch host {
        case .v4: AF_INET
        case .v6: AF_INET6
        case .unix: AF_UNIX
        }
    }

    /// Lends the address in the kernel's form.
    func withKernelForm<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        func lend<Form>(_ form: Form) -> Result {
            // Every sockaddr_* begins as sockaddr does; that is how the C interface is made.
            unsafe withUnsafeBytes(of: form) { bytes in
                unsafe body(
                    bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
            }
        }
        switch host {
        case .v4(let bits):
            var form = sockaddr_in()
            form.sin_family = sa_family_t(AF_INET)
            form.sin_port = port.bigEndian
            form.sin_addr.s_addr = bits.bigEndian
            return lend(form)
        case .v6(let high, let low, let scope):
            var form = sockaddr_in6()
            form.sin6_family = sa_family_t(AF_INET6)
            form.sin6_port = port.bigEndian
            form.sin6_scope_id = scope
            unsafe withUnsafeMutableBytes(of: &form.sin6_addr) { bytes in
                unsafe bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
                unsafe bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            return lend(form)
        case .unix(let path):
            var form = sockaddr_un()
            form.sun_family = sa_family_t(AF_UNIX)
            unsafe withUnsafeMutableBytes(of: &form.sun_path) { bytes in
                // `parse` has checked the length; what does not fit is cut and the last byte stays NUL.
                for (i, byte) in path.utf8.prefix(SocketAddress.maximumPathBytes).enumerated() { unsafe bytes[i] = byte }
            }
            return lend(form)
        }
    }

    /// What the kernel reported, IPv4-mapped addresses folded. A socket without a name is the empty path.
    init?(_ storage: sockaddr_storage) {
        let form: SocketAddress? = unsafe withUnsafeBytes(of: storage) { bytes in
            switch Int32(storage.ss_family) {
            case AF_INET:
                let form = unsafe bytes.load(as: sockaddr_in.self)
                return SocketAddress(host: .v4(UInt32(bigEndian: form.sin_addr.s_addr)), port: UInt16(bigEndian: form.sin_port))
            case AF_INET6:
                let form = unsafe bytes.load(as: sockaddr_in6.self)
                return SocketAddress(
                    host: Host(form.sin6_addr, scope: form.sin6_scope_id), port: UInt16(bigEndian: form.sin6_port))
            case AF_UNIX:
                let path = unsafe bytes.dropFirst(MemoryLayout<sa_family_t>.size).prefix(SocketAddress.maximumPathBytes)
                    .prefix { $0 != 0 }
                return SocketAddress(host: .unix(unsafe String(decoding: path, as: UTF8.self)), port: 0)
            default:
                return nil
            }
        }
        guard let form else { return nil }
        self = form.folded
    }
}
