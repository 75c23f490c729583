// The look of the UI: Mantine's, with colours that everybody can read.
import { createTheme, type CSSVariablesResolver, darken } from "@mantine/core";

/** Their header element is no banner of the page. */
const dialogs = { closeButtonProps: { "aria-label": "Close" }, attributes: { header: { role: "none" } } };

/** By Mantine's default, who uses no mouse cannot clear a choice. */
const reachable = { tabIndex: 0, "aria-hidden": false, "aria-label": "Clear" };

export const theme = createTheme({
  primaryColor: "blue",
  primaryShade: { light: 8, dark: 8 },
  defaultRadius: "md",
  cursorType: "pointer",
  respectReducedMotion: true,
  components: {
    Modal: { defaultProps: dialogs },
    Drawer: { defaultProps: dialogs },
    PasswordInput: { defaultProps: { visibilityToggleFocusable: true } },
    Select: { defaultProps: { clearButtonProps: reachable } },
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
