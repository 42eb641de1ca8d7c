/** What the page uses of gifenc 1.0.3, whose one file comes without types. */

type Palette = number[][];

interface Encoder {
  writeFrame(
    index: Uint8Array,
    width: number,
    height: number,
    options?: { palette?: Palette; delay?: number; repeat?: number },
  ): void;
  finish(): void;
  bytes(): Uint8Array<ArrayBuffer>;
}

export function GIFEncoder(options?: { initialCapacity?: number; auto?: boolean }): Encoder;

export function quantize(
  rgba: Uint8Array | Uint8ClampedArray,
  colors: number,
  options?: { format?: "rgb565" | "rgb444" },
): Palette;
