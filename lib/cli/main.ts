#!/usr/bin/env node
/** The bin. A probe runs every few seconds and must start as fast as node itself: nothing else is loaded for it. */
const [name, ...argv] = process.argv.slice(2);

if (name === 'probe') {
  const { directIo, probeCommand } = await import('./probe.js');
  process.exitCode = await probeCommand(argv, directIo);
} else {
  const { run } = await import('./commands.js');
  const code = await run(process.argv.slice(2), { stdout: process.stdout, stderr: process.stderr });
  const { leave } = await import('../io/exit.js');
  leave(code);
}
