import assert from 'node:assert/strict';
import { Scrubber } from '../../lib/io/scrubber.js';

const SECRET = 'p4ss/word+with?odd&chars=€';

function scrubber(...secrets: string[]): Scrubber {
  const made = new Scrubber();
  for (const secret of secrets) made.add(secret);
  return made;
}

describe('the scrubber', () => {
  it('takes a secret out of a text in every form in which it may come back', () => {
    const forms = [
      SECRET,
      Buffer.from(SECRET).toString('base64'),
      Buffer.from(SECRET).toString('base64url'),
      encodeURIComponent(SECRET),
    ];
    for (const form of forms) {
      assert.match(
        scrubber(SECRET).text(`before ${form} after ${form}.`),
        /^before \[redacted\]=* after \[redacted\]=*\.$/,
        form,
      );
    }
  });

  it('knows many secrets, also one that begins like another', () => {
    const both = scrubber('abcdefgh', 'abcdefghijkl', 'another-secret');
    assert.equal(both.text('abcdefghijkl, abcdefgh, another-secret'), '[redacted], [redacted], [redacted]');
  });

  it('takes out what is left of a secret where a text was cut to its limit', () => {
    const made = scrubber('a-long-secret-value');
    assert.equal(made.text('said: a-long-secr'), 'said: [redacted]');
    assert.equal(made.text('said: a-long-secr…'), 'said: [redacted]');
    assert.equal(made.text('said: a-long'), 'said: a-long', 'a few characters are no secret');
    assert.equal(made.text('a-long-secr is a word of ours'), 'a-long-secr is a word of ours');
  });

  it('leaves alone what is too short to be a secret, and patterns in one are plain text', () => {
    assert.equal(scrubber('the', '').text('the cat'), 'the cat');
    assert.equal(scrubber('a.*b[c](d)').text('a.*b[c](d) aXXb'), '[redacted] aXXb');
  });

  it('takes out secrets that it was never told of, where their place gives them away', () => {
    const made = scrubber();
    assert.equal(made.text('ws://user:word@host/x'), 'ws://[redacted]@host/x');
    assert.equal(made.text('http://h/x?a=1&token=abc&b=2#f'), 'http://h/x?a=1&token=[redacted]&b=2#f');
    assert.equal(made.text('Authorization: Bearer abc.def-123'), 'Authorization: Bearer [redacted]');
    assert.equal(made.text('nothing here'), 'nothing here');
  });

  it('takes them out of records, lists and errors with their causes, and copies what it changes', () => {
    const cause = new Error(`inner ${SECRET}`);
    const error = Object.assign(new Error(`outer ${SECRET}`, { cause }), { code: 'E_TEST' });
    const record = { text: SECRET, list: [1, SECRET, { deep: SECRET }], nothing: null, error };
    const clean = scrubber(SECRET).value(record);
    assert.ok(!JSON.stringify(clean).includes('p4ss'));
    assert.match(JSON.stringify(clean), /E_TEST.*inner \[redacted\]/);
    assert.equal(record.text, SECRET);
  });

  it('X02 ends in the depth and in the width, also in a circle', () => {
    const circle: Record<string, unknown> = { text: SECRET };
    circle['self'] = circle;
    let deep: unknown = SECRET;
    for (let level = 0; level < 50_000; level += 1) deep = [deep];
    const wide = Array.from({ length: 100_000 }, () => SECRET);
    const clean = JSON.stringify(scrubber(SECRET).value({ circle, deep, wide }));
    assert.ok(!clean.includes('p4ss') && clean.length < 10_000, `${clean.length} characters`);
  });

  it('X03 copies prototype keys as plain data or not at all', () => {
    const clean = scrubber().value(
      JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'),
    );
    assert.equal(Reflect.get({}, 'polluted'), undefined);
    assert.equal(Object.getPrototypeOf(clean), Object.prototype);
  });
});
