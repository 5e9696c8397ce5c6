export type { AgentRun, AgentRunOptions } from './api/agent-run.js';
export type { CallDetails, Confirm, Confirmation } from './api/call-entry.js';
export type { CallOptions } from './api/call-request.js';
export { type CallArguments, createClient, type GatewayClient, type Outcome } from './api/client.js';
export type {
  AttemptEvent,
  BroadcastEvent,
  ClientEvent,
  ClientEvents,
  GapEvent,
  GiveUpEvent,
  RestartEvent,
  RetryEvent,
  StateEvent,
} from './api/events.js';
export type {
  AgentFileMethods,
  AgentMethods,
  AgentRunMethods,
  ChatMethods,
  GatewayMethods,
} from './api/gateway-methods.js';
export { importOpenClawIdentity } from './api/identity.js';
export type { InvokeContext, InvokeHandler } from './api/invocations.js';
export { createNodeHost, type NodeHost, type NodeHostOptions } from './api/node-host.js';
export {
  type HelloResult,
  type Provisioned,
  type ProvisionedFile,
  type ProvisionFile,
  type ProvisionHello,
  type ProvisionOptions,
  type ProvisionProgress,
  provisionAgent,
  type Tenant,
} from './api/provision.js';
export type { CreateOptions } from './api/provision-usable.js';
export { type CallAttempt, GatewayError, isGatewayError } from './core/errors.js';
export type { GatewayWord } from './core/failure.js';
export type { Hello } from './core/frames.js';
export type { Health, HealthError, NodeHealth } from './core/health.js';
export type {
  AgentFile,
  AgentSummary,
  Attachment,
  Methods,
  NodeSummary,
  Params,
  Result,
  SessionSummary,
} from './core/methods.js';
export type { CallDefaults, ClientOptions, DeviceOptions, Logger, ReconnectOptions, Secret } from './core/options.js';
export type { DeliveryOrigin } from './core/origin.js';
export type { GatewayIdentity, RestartEvidence, RestartInfo } from './core/restart.js';
export type { Runtime, Timer } from './core/runtime.js';
export type { CallOutcome, Phase, Reason, Role, Safety, Status, StopOutcome } from './core/vocabulary.js';
