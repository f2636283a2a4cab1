// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Why a socket could not be opened; `description` is one line for the operator.
package struct NetworkError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Operation: String, Sendable {
        case listen = "listen on"
        case connect = "connect to"
        case register = "wait for"
        case start = "start a reactor for"
    }

    package var operation: Operation
    package var address: SocketAddress?
    package var errno: Int32

    package init(_ operation: Operation, _ address: SocketAddress?, errno: Int32) {
        self.operation = operation
        self.address = address
        self.errno = errno
    }

    /// This machine is out of descriptors, ports or memory: no evidence against the peer (semantics, section 0.1).
    package var isLocal: Bool {
        switch errno {
        case EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL, EAGAIN, EACCES, EPERM: true
        default: false
        }
    }

    package var description: String {
        let target = address.map { " \($0)" } ?? ""
        return "cannot \(operation.rawValue)\(target): \(explanation)"
    }

    private var explanation: String {
        switch errno {
        case EADDRINUSE: "the address is in use by another process"
        case EADDRNOTAVAIL where operation == .listen: "this machine does not have that address"
        case EADDRNOTAVAIL: "no local port is free"
        case EACCES, EPERM:
            if operation == .listen, let port = address?.port, port > 0, port < 1024 {
                "permission denied (a port below 1024 needs root or CAP_NET_BIND_SERVICE)"
            } else {
                "permission denied"
            }
        case EMFILE: "this process has no descriptor left (raise `ulimit -n`)"
        case ENFILE: "this machine has no descriptor left"
        default: unsafe String(cString: strerror(errno))
        }
    }
}
