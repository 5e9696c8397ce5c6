// Removes a build folder of this package, so that a deleted source file leaves no compiled ghost behind.
import { rmSync } from 'node:fs';

const [folder] = process.argv.slice(2);
if (folder !== 'dist' && folder !== 'build') throw new Error(`refusing to remove ${folder}`);
rmSync(folder, { recursive: true, force: true });
