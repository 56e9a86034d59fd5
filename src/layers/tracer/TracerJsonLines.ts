/**
 * Appends traces to a file, one JSON document a line: the beginnings and ends of traces, and spans as they end. Each
 * line decodes by `Tracer.TraceEntry`. Runs never wait for the disk: lines go through a bounded queue, and are all
 * written when the Layer closes.
 *
 * Each batch is one write at the end of the file, so that several processes may share a file that is not rotated.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import type * as Layer from "effect/Layer"
import type { PlatformError } from "effect/PlatformError"
import * as Scope from "effect/Scope"
import type { TraceExporter, TraceProcessor } from "../../services/Tracer.ts"
import * as Tracer from "../../services/Tracer.ts"
import * as batch from "./internal/batch.ts"
import { toJson } from "./internal/encode.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends batch.BatchOptions {
  /** The file; it is created where it does not exist, readable by its owner alone. Its folder is not created. */
  readonly path: string
  /**
   * In bytes. Before a batch would make the file larger than this it is renamed to `path.1`, that one to `path.2`, and
   * so on. `Infinity`: never, which a file of several processes needs.
   *
   * @default 67108864
   */
  readonly maxFileSize?: number | undefined
  /**
   * How many files are kept, the current one included.
   *
   * @default 5
   */
  readonly maxFiles?: number | undefined
  /**
   * A longer text is cut, in characters.
   *
   * @default 100000
   */
  readonly maxTextLength?: number | undefined
}

const name = "jsonl"

const failure = (operation: string, path: string) => (cause: PlatformError): Tracer.TracerError =>
  new Tracer.TracerError({
    exporter: name,
    operation,
    description: `"${path}" cannot be written: ${cause.message}. Its folder must exist and be writable`,
    isRetryable: true,
    cause
  })

const encoder = new TextEncoder()

const newLine = 10

/**
 * The processor, which writes until the scope closes. Fails where the file cannot be opened for writing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<TraceProcessor, Tracer.TracerError, FileSystem.FileSystem | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  const { path } = options
  const maxFileSize = options.maxFileSize ?? 64 * 1024 * 1024
  const maxFiles = Math.max(1, options.maxFiles ?? 5)
  const maxText = Math.max(100, options.maxTextLength ?? 100_000)

  const open = Effect.gen(function*() {
    const scope = yield* Scope.make()
    const opening = Effect.gen(function*() {
      const file = yield* fs.open(path, { flag: "a+", mode: 0o600 })
      const size = Number((yield* file.stat).size)
      // What was killed in the middle of a line must not spoil the next one.
      if (size > 0) {
        const last = new Uint8Array(1)
        yield* file.read(last, { position: BigInt(size - 1) })
        if (last[0] !== newLine) yield* file.writeAll(Uint8Array.of(newLine))
      }
      return { file, size, scope }
    })
    return yield* Scope.provide(opening, scope).pipe(
      Effect.onError(() => Scope.close(scope, Exit.void)),
      Effect.uninterruptible
    )
  })

  let current: Effect.Success<typeof open> | undefined = yield* Effect.mapError(open, failure("open", path))
  const close = Effect.suspend(() => {
    const closing = current === undefined ? Effect.void : Scope.close(current.scope, Exit.void)
    current = undefined
    return closing
  })
  yield* Effect.addFinalizer(() => close)

  const rotate = Effect.gen(function*() {
    yield* close
    for (let index = maxFiles - 1; index > 0; index--) {
      const from = index === 1 ? path : `${path}.${index - 1}`
      if (yield* fs.exists(from)) yield* fs.rename(from, `${path}.${index}`)
    }
    if (maxFiles === 1) yield* fs.remove(path, { force: true })
  })

  const exporter: TraceExporter = {
    name,
    export: (entries) =>
      Effect.gen(function*() {
        let text = ""
        for (const entry of entries) text += `${toJson(entry, maxText)}\n`
        const bytes = encoder.encode(text)
        current ??= yield* open
        if (current.size > 0 && current.size + bytes.length > maxFileSize) {
          yield* rotate
          current = yield* open
        }
        yield* current.file.writeAll(bytes)
        current = { ...current, size: current.size + bytes.length }
      }).pipe(
        // Half a batch would be half a line; what fails half-way is mended when the file is opened again.
        Effect.onError(() => close),
        Effect.uninterruptible,
        Effect.mapError(failure("export", path))
      )
  }
  return yield* batch.make(exporter, options)
})

/**
 * Appends every span to a file for as long as the Layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<never, Tracer.TracerError, FileSystem.FileSystem> =>
  Tracer.addProcessor(make(options))

/**
 * As `layer`, with options from configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<Options>
): Layer.Layer<never, Tracer.TracerError | Config.ConfigError, FileSystem.FileSystem> =>
  Tracer.addProcessor(Effect.flatMap(Config.unwrap(config), make))
