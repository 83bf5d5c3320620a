/// <reference types="svelte" />
/// <reference types="vite/client" />

/** A lesson as HTML: see vite.config.ts. */
declare module '*.md' {
  const html: string
  export default html
}
