/** A device identity that was made elsewhere. */
import type { DeviceOptions } from '../core/options.js';
import { importOpenClawIdentity as importIdentity } from '../io/device-identity.js';

/**
 * Takes over the identity of an OpenClaw installation, so that the gateway knows this device already. Call it before the
 * first start of the node host; the source is only read. Stop its own node host first: of two that share an identity
 * only the last to connect is heard.
 *
 * Known formats: `identity/device.json` as OpenClaw 2026.4 writes it, and that of its macOS app. 2026.9 keeps its
 * identity in a database, which is not read: the remedy of the error then has the command that gets it out.
 *
 * @param source The file, or the directory that holds `identity/device.json`, such as `~/.openclaw`.
 * @returns The id of the device.
 * @throws GatewayError with reason `local` and a remedy; an identity that is there is never replaced by another.
 */
export async function importOpenClawIdentity(source: string, device: DeviceOptions): Promise<string> {
  const { deviceId } = await importIdentity(source, { stateDir: device.stateDir });
  return deviceId;
}
