// Links to what is beside docs/ in the repository. The book lies two folders deeper than its pages, in
// target/book, so from there they lead to the same files by one folder more.
for (const link of document.querySelectorAll('main a[href^="../"]')) {
  const root = new URL(path_to_root || './', document.baseURI);
  if (!link.href.startsWith(root.href)) link.setAttribute('href', '../' + link.getAttribute('href'));
}
