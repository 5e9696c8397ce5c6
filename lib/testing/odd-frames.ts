import type { ChallengeVariant, FrameVariant } from './faults.js';

/** A challenge as the fault `bad-challenge` spoils it. */
export function spoiledChallenge(payload: Record<string, unknown>, variant: ChallengeVariant): unknown {
  const { nonce: _nonce, ...rest } = payload;
  const { ts: _ts, ...timeless } = payload;
  switch (variant) {
    case 'blank':
      return { ...rest, nonce: '   ' };
    case 'missing':
      return rest;
    case 'number':
      return { ...rest, nonce: 12345 };
    case 'long':
      return { ...rest, nonce: 'n'.repeat(513) };
    case 'pipe':
      return { ...rest, nonce: 'aaaa|bbbb' };
    case 'newline':
      return { ...rest, nonce: 'aaaa\r\nbbbb' };
    case 'no-ts':
      return timeless;
    case 'no-payload':
      return undefined;
    case 'twice':
      return payload;
  }
}

/** Frames that belong to no request, as text or as bytes; undefined for the variants that spoil an answer. */
export function strayFrame(variant: FrameVariant): string | Buffer | undefined {
  switch (variant) {
    case 'broken-json':
      return '{"type":"event","event":';
    case 'array':
      return '[1,2,3]';
    case 'number':
      return '42';
    case 'null':
      return 'null';
    case 'binary':
      return Buffer.from([0, 1, 2, 255, 254]);
    case 'bad-utf8':
      return Buffer.from([0x22, 0xc3, 0x28, 0x22]);
    case 'deep':
      return '['.repeat(100_000) + ']'.repeat(100_000);
    case 'unknown-type':
      return '{"type":"telegram","id":"1"}';
    case 'unknown-event':
      return '{"type":"event","event":"toString","payload":{"new":true},"extra":1}';
    case 'prototype':
      return '{"type":"event","event":"__proto__","payload":{"__proto__":{"polluted":true}}}';
    default:
      return undefined;
  }
}

/** An unmasked frame of 2^40 bytes that has just begun, or a message whose fragments never end. */
export function giantHeader(endless: boolean): Buffer {
  if (endless) return Buffer.concat([Buffer.from([0x01, 0x04]), Buffer.from('frag')]);
  const header = Buffer.alloc(10);
  header[0] = 0x81;
  header[1] = 127;
  header.writeBigUInt64BE(2n ** 40n, 2);
  return Buffer.concat([header, Buffer.from('{"type":"event"')]);
}

/** One more fragment of a message that never ends. */
export const FRAGMENT: Buffer = Buffer.concat([Buffer.from([0x00, 0x7e, 0x40, 0x00]), Buffer.alloc(0x4000, 0x20)]);

/** The first half of a text frame. */
export const HALF_FRAME: Buffer = Buffer.concat([Buffer.from([0x81, 100]), Buffer.from('{"type":"res","id":"')]);
