/** `basin-ebt/client`: a typed client without dependencies. */
export { BasinClient, type CallOptions, type ClientOptions } from './client.js'
export { BasinClientError } from './client-error.js'
export type { RefinementSocket, SocketLike } from './refinement-socket.js'
export type * from './types.js'
