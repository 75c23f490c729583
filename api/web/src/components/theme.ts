// The look of the UI: Mantine's, with colours that everybody can read.
import { createTheme, type CSSVariablesResolver, darken } from "@mantine/core";

/** Their header element is no banner of the page, and a slip of the hand loses nothing that was filled in. */
const dialogs = { closeOnClickOutside: false, closeButtonProps: { "aria-label": "Close" }, attributes: { header: { role: "none" } } };

/** What opens over a page stands in its main part, as the rest of it does (WCAG 2.2, 1.3.1). */
const layers = { portalProps: { target: "#layers" } };

/** Its list scrolls by itself, so that nothing stands between the field and its options. */
const listbox = { withScrollArea: false, styles: { options: { maxHeight: 240, overflowY: "auto" } } } as const;

/** A choice that can be cleared, also by who uses no mouse, which Mantine's default has not. */
export const clearable = (label: string) => ({ clearable: true, clearButtonProps: { size: "md", tabIndex: 0, "aria-hidden": false, "aria-label": `Clear ${label}` } }) as const;

export const theme = createTheme({
  primaryColor: "blue",
  primaryShade: { light: 8, dark: 8 },
  defaultRadius: "md",
  cursorType: "pointer",
  respectReducedMotion: true,
  components: {
    Modal: { defaultProps: dialogs },
    Drawer: { defaultProps: { ...dialogs, closeOnClickOutside: true } },
    Select: { defaultProps: listbox },
    PasswordInput: { defaultProps: { visibilityToggleFocusable: true } },
    Popover: { defaultProps: layers },
    Tooltip: { defaultProps: layers },
    // Its words would fade even for who wants no motion.
    SegmentedControl: { defaultProps: { transitionDuration: 0 } },
  },
});

/** Where Mantine's own have less than 4.5:1 of contrast (WCAG 2.2, 1.4.3). */
export const readable: CSSVariablesResolver = ({ colors }) => ({
  variables: {},
  light: {
    "--mantine-color-dimmed": colors.gray[7],
    "--mantine-color-placeholder": colors.gray[7],
    "--mantine-color-error": colors.red[9],
    ...Object.fromEntries(Object.entries(colors).map(([name, shades]) => [`--mantine-color-${name}-light-color`, darken(shades[9], 0.3)])),
  },
  dark: {
    "--mantine-color-dimmed": colors.dark[1],
    "--mantine-color-placeholder": colors.dark[1],
    "--mantine-color-error": colors.red[4],
  },
});
